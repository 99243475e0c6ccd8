// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/managed_generations.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "brood/proc/child.h"
#include "brood/proc/sync_point.h"
#include "brood/server/vocabulary/child_tag.h"

namespace brood::server {

ManagedGenerations::ManagedGenerations(const Options& options,
                                       std::vector<net::UniqueFd> older,
                                       ServiceManager* manager,
                                       proc::Reaper* reaper, EventLog* log,
                                       StartFunction start)
    : command_(options.upgrade.command),
      notify_socket_(options.notify_socket),
      manager_(manager),
      reaper_(reaper),
      log_(log),
      start_(std::move(start)) {
  if (older.empty()) return;
  // Without epoll, the ends are noticed at the next request.
  ends_ = proc::Private<net::UniqueFd>(
      net::UniqueFd::Adopt(epoll_create1(EPOLL_CLOEXEC)));
  epoll_event readable = {};
  readable.events = EPOLLIN;
  for (net::UniqueFd& each : older) {
    epoll_ctl(ends_.fd(), EPOLL_CTL_ADD, each.fd(), &readable);
    older_.emplace_back(std::move(each));
  }
}

absl::StatusOr<pid_t> ManagedGenerations::Start(const Handshake::Offer& offer) {
  proc::Program program =
      Handshake::MakeProgram(command_, notify_socket_, offer);
  std::vector<int> older;
  for (const auto& each : older_) older.push_back(each.fd());
  const net::UniqueFd self = net::UniqueFd::Adopt(
      static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (self.valid()) older.push_back(self.fd());
  Handshake::AddOlder(older, &program);
  absl::StatusOr<proc::Child> child = start_(program);
  if (!child.ok()) return child.status();
  candidate_ = child->pid();
  proc::SyncPoint("upgrade: started");
  reaper_->Adopt(*std::move(child), ChildTag::Program().Pack());
  log_->UpgradeStarted(candidate_, program.path);
  return candidate_;
}

void ManagedGenerations::Kill(pid_t pid) {
  reaper_->Signal(pid, SIGKILL).IgnoreError();
}

void ManagedGenerations::StopCandidate(pid_t pid) {
  reaper_->Signal(pid, SIGTERM).IgnoreError();
}

// A candidate that died a moment ago, which the reaper has not reported yet,
// does not take over.
absl::optional<proc::ExitStatus> ManagedGenerations::HandOver(pid_t pid) {
  candidate_ = 0;
  if (absl::optional<proc::ExitStatus> status = reaper_->Disown(pid)) {
    return status;
  }
  is_old_ = true;
  manager_->MainPid(pid);
  return absl::nullopt;
}

Requests::Taken ManagedGenerations::Route(Requests::Taken asked) {
  if (!asked.upgrade) return asked;
  ForgetEnded();
  if (older_.size() >= kMostOld) {
    log_->UpgradeIgnored(TooManyOld());
    asked.upgrade = false;
  }
  return asked;
}

Generations::Messages ManagedGenerations::Attend() {
  ForgetEnded();
  return Messages();
}

void ManagedGenerations::KillAll(net::Instant now) {
  if (candidate_ != 0) Kill(candidate_);
  if (kill_at_ == net::Never()) kill_at_ = net::After(now, kLastDelay);
  if (now >= kill_at_ && !is_old_) SignalOlder(SIGKILL);
}

void ManagedGenerations::SignalOlder(int signal) const {
  if (is_old_) return;  // the newest program does it
  for (const auto& each : older_) {
    syscall(SYS_pidfd_send_signal, each.fd(), signal, nullptr, 0);
  }
}

// A pidfd is readable when its process has ended.
void ManagedGenerations::ForgetEnded() {
  older_.erase(std::remove_if(older_.begin(), older_.end(),
                              [](const auto& each) {
                                pollfd end = {each.fd(), POLLIN, 0};
                                return poll(&end, 1, 0) == 1;
                              }),
               older_.end());
}

}  // namespace brood::server

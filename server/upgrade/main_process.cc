// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/main_process.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "brood/proc/sync_point.h"
#include "brood/server/vocabulary/child_tag.h"

namespace brood::server {

MainProcess::MainProcess(const Options& options, ServiceManager* manager,
                         proc::Reaper* reaper, EventLog* log,
                         StartFunction start)
    : command_(options.upgrade.command),
      notify_socket_(options.notify_socket),
      manager_(manager),
      reaper_(reaper),
      log_(log),
      start_(std::move(start)) {}

absl::StatusOr<pid_t> MainProcess::Start(const Handshake::Offer& offer) {
  return StartFor(kSelf, offer.fds, offer.variable);
}

absl::StatusOr<pid_t> MainProcess::StartFor(pid_t starter,
                                            const std::vector<int>& fds,
                                            const std::string& variable) {
  if (links_.fd() < 0) {
    net::UniqueFd links = net::UniqueFd::Adopt(epoll_create1(EPOLL_CLOEXEC));
    if (!links.valid()) return absl::ErrnoToStatus(errno, "epoll_create1");
    links_ = proc::Private<net::UniqueFd>(std::move(links));
  }
  auto pair = GenerationLink::CreatePair();
  if (!pair.ok()) return pair.status();
  epoll_event readable = {};
  readable.events = EPOLLIN;
  if (epoll_ctl(links_.fd(), EPOLL_CTL_ADD, pair->first.fd(), &readable) < 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");
  }
  proc::Program program =
      Handshake::MakeProgram(command_, notify_socket_, {fds, variable});
  Handshake::AddLink(pair->second.fd(), &program);
  // Allocated before the program is started: there must be a record of each
  // program.
  auto generation = std::make_unique<Generation>();
  generations_.reserve(generations_.size() + 1);
  absl::StatusOr<proc::Child> child = start_(program);
  if (!child.ok()) return child.status();
  const pid_t pid = child->pid();
  proc::SyncPoint("upgrade: started");
  reaper_->Adopt(*std::move(child), ChildTag::Program().Pack());
  generation->pid = pid;
  generation->starter = starter;
  generation->link = std::move(pair->first);
  generations_.push_back(std::move(generation));
  log_->UpgradeStarted(pid, program.path);
  return pid;
}

void MainProcess::Kill(pid_t pid) {
  if (Find(pid) != nullptr) reaper_->Signal(pid, SIGKILL).IgnoreError();
}

void MainProcess::StopCandidate(pid_t /*pid*/) {
  // StopAll() stops the candidate, as it stops the others.
}

// A candidate that died a moment ago, which the reaper has not reported yet,
// does not take over.
absl::optional<proc::ExitStatus> MainProcess::HandOver(pid_t pid) {
  if (absl::optional<proc::ExitStatus> status = reaper_->Disown(pid)) {
    Ended(pid, *status);
    return status;
  }
  reaper_->Adopt(proc::Child::Adopt(pid), ChildTag::Program().Pack());
  Generation* const candidate = Find(pid);
  if (candidate != nullptr) TakenOver(*candidate);
  manager_->Ready();
  return absl::nullopt;
}

void MainProcess::TakenOver(Generation& candidate) {
  candidate.has_taken_over = true;
  newest_ = &candidate;
  last_status_.reset();
}

Requests::Taken MainProcess::Route(Requests::Taken asked) {
  own_stops_ += asked.stops;
  asked.stops = CountStops(own_stops_);
  if (asked.upgrade) {
    Messages messages;
    AskForUpgrade(&messages);
    asked.upgrade = messages.upgrade;
  }
  return asked;
}

int MainProcess::CountStops(int stops) {
  const int before = stops_;
  stops_ = std::max(stops_, stops);
  return stops_ - before;
}

void MainProcess::AskForUpgrade(Messages* messages) {
  if (old() >= kMostOld) {
    log_->UpgradeIgnored(TooManyOld());
  } else if (newest_ == nullptr) {
    messages->upgrade = true;
  } else {
    newest_->link.Send({GenerationLink::Kind::kUpgrade}).IgnoreError();
  }
}

// A message of one generation may start another one, so the generations are
// counted before.
Generations::Messages MainProcess::Attend() {
  Messages messages;
  const size_t count = generations_.size();
  for (size_t i = 0; i < count; ++i) {
    Generation& each = *generations_[i];
    while (auto message = each.link.Receive()) {
      Handle(each, *std::move(message), &messages);
    }
  }
  return messages;
}

void MainProcess::Handle(Generation& from, GenerationLink::Received message,
                         Messages* messages) {
  switch (message.kind) {
    case GenerationLink::Kind::kStop:
      from.stops += message.value;
      messages->stops += CountStops(from.stops);
      return;
    case GenerationLink::Kind::kUpgrade:
      AskForUpgrade(messages);
      return;
    case GenerationLink::Kind::kDescriptor:
      from.descriptors.emplace_back(std::move(message.descriptor));
      return;
    case GenerationLink::Kind::kStart:
      StartForGeneration(from, message.text);
      from.descriptors.clear();
      return;
    case GenerationLink::Kind::kTookOver:
      if (IsCandidate(message.pid)) TakenOver(*Candidate());
      return;
    case GenerationLink::Kind::kKill:
      if (IsCandidate(message.pid)) Kill(message.pid);
      return;
    case GenerationLink::Kind::kStarted:
    case GenerationLink::Kind::kNotStarted:
    case GenerationLink::Kind::kEnded:
      return;  // only the main process sends these
  }
}

void MainProcess::StartForGeneration(Generation& from,
                                     const std::string& variable) {
  std::vector<int> fds;
  for (const auto& each : from.descriptors) fds.push_back(each.fd());
  absl::StatusOr<pid_t> pid =
      absl::FailedPreconditionError("another program is being started already");
  if (Candidate() == nullptr) pid = StartFor(from.pid, fds, variable);
  const absl::Status sent =
      pid.ok() ? from.link.Send({GenerationLink::Kind::kStarted, *pid})
               : from.link.Send({GenerationLink::Kind::kNotStarted},
                                pid.status().message());
  // The generation that asked for it would wait in vain, and never let it take
  // over.
  if (!sent.ok() && pid.ok()) Kill(*pid);
}

void MainProcess::StopAll() {
  for (const Pointer& each : generations_) {
    each->link.Send({GenerationLink::Kind::kStop, 0, 1}).IgnoreError();
  }
}

void MainProcess::KillAll(net::Instant now) {
  if (kill_at_ == net::Never()) kill_at_ = net::After(now, kLastDelay);
  if (now < kill_at_) return;
  for (const Pointer& each : generations_) Kill(each->pid);
}

Generations::Role MainProcess::Ended(pid_t pid,
                                     const proc::ExitStatus& status) {
  const auto found =
      std::find_if(generations_.begin(), generations_.end(),
                   [&](const Pointer& each) { return each->pid == pid; });
  if (found == generations_.end()) return Role::kOld;
  const Pointer ended = std::move(*found);
  generations_.erase(found);
  if (!ended->has_taken_over) {
    if (ended->starter == kSelf) return Role::kCandidate;
    if (Generation* const starter = Find(ended->starter)) {
      starter->link
          .Send({GenerationLink::Kind::kEnded, pid, status.wait_status()})
          .IgnoreError();
    }
    return Role::kOld;
  }
  log_->GenerationEnded(pid, status);
  if (newest_ != ended.get()) return Role::kOld;
  newest_ = nullptr;
  last_status_ = status;
  Generation* const candidate = Candidate();
  // While the server stops, the candidate is being killed.
  if (stops_ == 0 && candidate != nullptr && candidate->starter == pid) {
    TakenOver(*candidate);
    return Role::kOld;
  }
  return Role::kNewest;
}

MainProcess::Generation* MainProcess::Find(pid_t pid) {
  for (const Pointer& each : generations_) {
    if (each->pid == pid) return each.get();
  }
  return nullptr;
}

MainProcess::Generation* MainProcess::Candidate() {
  for (const Pointer& each : generations_) {
    if (!each->has_taken_over) return each.get();
  }
  return nullptr;
}

bool MainProcess::IsCandidate(pid_t pid) {
  const Generation* const candidate = Candidate();
  return candidate != nullptr && candidate->pid == pid;
}

int MainProcess::old() const {
  return static_cast<int>(std::count_if(
      generations_.begin(), generations_.end(), [&](const Pointer& each) {
        return each->has_taken_over && each.get() != newest_;
      }));
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/every_event.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): Instant is made of it.
#include <csignal>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"
#include "brood/proc/exit_status.h"
#include "brood/server/connection_report.h"
#include "brood/server/log_level.h"
#include "brood/server/totals.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

proc::ExitStatus Exited(int code) {
  rusage usage = {};
  usage.ru_utime.tv_usec = 1500;
  usage.ru_stime.tv_sec = 1;
  return proc::ExitStatus::FromWait(W_EXITCODE(code, 0), usage);
}

proc::ExitStatus KilledBy(int signal) {
  return proc::ExitStatus::FromWait(W_EXITCODE(0, signal), rusage());
}

// Returns the report of a connection that ended with `status`. `kill_reason` is
// why the server ended its process, if it did.
ConnectionReport ReportOf(
    const proc::ExitStatus& status,
    absl::optional<KillReason> kill_reason = absl::nullopt) {
  ConnectionReport report;
  report.peer = LogPeer();
  report.pid = 4711;
  report.status = status;
  report.signalled_by_us = kill_reason.has_value();
  report.accept_to_child = absl::Microseconds(250);
  report.duration = absl::Milliseconds(1500);
  report.local = LogListener().ToAddress();
  report.kill_reason = kill_reason;
  return report;
}

}  // namespace

net::Instant LogTime() { return net::Instant() + std::chrono::hours(1000); }

net::PeerAddress LogPeer() {
  return net::Endpoint::Parse("192.0.2.7:50112")->ToAddress();
}
net::Endpoint LogListener() { return *net::Endpoint::Parse("[::1]:7000"); }

void LogEveryEvent(EventLog& log) {
  const net::PeerAddress peer = LogPeer();
  const net::Endpoint listener = LogListener();
  const absl::Status refused = absl::UnavailableError("clone: try again");
  Totals unbalanced;
  unbalanced.accepted = 1;

  log.Listening(listener);
  log.InheritedListenerUnused(3, listener);
  log.InheritedListenerWider(listener, "[::1]:7000", LogLevel::kInfo);
  log.ListenerUnreachable(listener, "its file has been removed");
  log.ListenerRebound(listener, "its file has been removed");
  log.OptionNotApplied("unix_mode", listener, "chmod /run/x.sock: no");
  log.ListenFdsIgnored("LISTEN_PID=1 is not this process");
  log.Inherited("opened descriptor 0");
  log.SpawnFallback("clone", "clone3: Function not implemented");
  log.RehearsalFailed(refused);
  log.SignalQueueTooSmall(100, 1000);
  log.DescriptorsShort(41, 230, "200 for workers, 27 for the server");
  log.NotifyFailed("READY=1\nSTATUS=idle", absl::NotFoundError("sendto @x"));
  log.Draining(2, absl::Milliseconds(10500));
  log.Draining(2, absl::InfiniteDuration());
  log.Terminating(2);
  log.Killing(1);
  log.SignalRefused(4711, 2, absl::PermissionDeniedError("kill 4711"));
  log.HeldByTracer(4711, LogTime());
  log.LeftBehind(9, {4711, 4712});
  log.LeftInQueue(3);
  log.Stopped(Totals());
  log.Stopped(unbalanced);

  log.Forked(4711, peer, 3, 1000);
  log.Assigned(4711, peer, 3, 1000);
  log.Handling(peer);
  log.NotPrepared(absl::InternalError("no entropy"));
  log.HandlerThrew(peer, "no such table");
  log.BadExitCode(peer, 256);
  ConnectionReport reported = ReportOf(Exited(1));
  reported.handler_time = absl::Milliseconds(1200);
  reported.linger_time = absl::Milliseconds(200);
  reported.exception = "no such table";
  reported.annotation = "GET /\n";
  for (const ConnectionReport& report :
       {reported, ReportOf(Exited(0)), ReportOf(Exited(42)),
        ReportOf(Exited(1)), ReportOf(Exited(101)), ReportOf(KilledBy(SIGSEGV)),
        ReportOf(KilledBy(SIGTERM), KillReason::kStop),
        ReportOf(KilledBy(SIGKILL), KillReason::kIdle),
        ReportOf(proc::ExitStatus::Unknown())}) {
    log.Ended(report, 2, 1000);
  }
  log.StatusTaken(4711);
  log.Expired(4711, peer, KillReason::kFirstByte);

  log.UpgradeStarted(4713, "/opt/server");
  log.UpgradeIgnored("an upgrade is already in progress");
  log.SuccessorReady(4713);
  log.HandedOver(4713);
  log.UpgradeFailed(
      4713, absl::AbortedError("exited with code 1 before it was ready"), 2);
  log.UpgradeFailed(0, absl::NotFoundError("posix_spawn /opt/server"), 3);
  log.GenerationEnded(4713, Exited(0));
  log.MainProcessEnded();
  log.WaitingForChildren(3);

  log.ForkDelayed(peer, refused, kLogPause, LogTime());
  log.ForkFailed(peer, refused, kLogPause, LogTime());
  log.AcceptPaused(listener, EMFILE, kLogPause, LogTime());
  log.AcceptFailed(listener, ECONNABORTED, LogTime());
  log.ListenerDead(listener, EBADF);
  log.NoDeadline(listener);
  log.PeerTimeoutLeftToKernel(listener, absl::NotFoundError("sock_diag"));
  log.ConnectionsNotVisible(absl::PermissionDeniedError("send"), LogTime());
  log.CallFailed("poll", ENOMEM, LogTime());
  log.PollPaused("exits", kLogPause, LogTime());

  log.WorkerDiedAtStart(4714, Exited(111), kLogPause);
  log.WorkerDismissed(4714, "it shut its queue down", LogTime());
  log.PreforkFailed(refused, kLogPause);
  log.ZygoteServes(4715);
  log.ZygoteStalled(4715, 3);
  log.ZygoteReplaced("the user id");
  log.HardeningRefused("hardening.stack_canary", refused);
  log.ZygoteEnded(4715, KilledBy(SIGKILL));
}

StderrCapture StderrCapture::ToPackets() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  return StderrCapture(fds);
}

StderrCapture StderrCapture::ToPipe() {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  EXPECT_GE(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
  return StderrCapture(fds);
}

StderrCapture::StderrCapture(const int (&fds)[2])
    : reader_(fds[0]), before_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) {
  EXPECT_EQ(fcntl(reader_, F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
  close(fds[1]);
}

StderrCapture::~StderrCapture() {
  dup2(before_, STDERR_FILENO);
  close(before_);
  close(reader_);
}

std::vector<std::string> StderrCapture::Writes() const {
  std::vector<std::string> writes;
  char text[65536];
  ssize_t got;
  while ((got = read(reader_, text, sizeof(text))) > 0) {
    writes.emplace_back(text, static_cast<size_t>(got));
  }
  EXPECT_EQ(errno, EAGAIN);
  return writes;
}

std::vector<std::string> StderrCapture::Lines() const {
  std::string text;
  for (const std::string& write : Writes()) text += write;
  if (text.empty()) return {};
  EXPECT_EQ(text.back(), '\n');
  text.pop_back();
  return absl::StrSplit(text, '\n');
}

}  // namespace brood::server

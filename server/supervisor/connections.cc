// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/connections.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "brood/net/peer_address.h"
#include "brood/proc/sync_point.h"
#include "brood/server/log/must_not_throw.h"
#include "brood/server/log/wall_clock.h"
#include "brood/server/supervisor/memory_allows.h"

namespace brood::server {

using net::Instant;
using proc::SyncPoint;

Connections::Connections(const Options& options,
                         std::unique_ptr<Deadlines> deadlines,
                         proc::Reaper* reaper, EventLog* log,
                         const HandlerReports* reports)
    : reaper_(reaper),
      log_(log),
      handler_reports_(reports),
      on_connection_end_(options.on_connection_end),
      gate_(options.Capacity()),
      scoreboard_(options.Capacity()),
      deadlines_(std::move(deadlines)) {
  if (on_connection_end_) reports_.reserve(2 * proc::Reaper::kBatch);
  // At most this many connections can come back in one turn, because each has a
  // slot.
  const size_t most_waiting =
      std::min(options.Capacity(), 2 * proc::Reaper::kBatch + kMostWaiting);
  waiting_.reserve(most_waiting);
  dispatched_again_.reserve(most_waiting);
  proc::ReservePrivateFds(most_waiting);
}

// From here on the connection is counted, and will have an outcome: how its
// process ended, or that none could be created.
void Connections::Dispatch(net::Connection connection, Strategy& strategy) {
  SyncPoint("supervisor: accepted");
  const Slot slot = scoreboard_.Claim(
      connection, on_connection_end_ ? WallClockNow() : absl::UnixEpoch());
  connection.set_connections_of_host(
      scoreboard_.entry(slot).connections_of_host);
  deadlines_->Watch(slot, connection);
  const Instant now = connection.accepted_at();
  SyncPoint("supervisor: about to dispatch");
  strategy.Dispatch(slot, std::move(connection), now, *this);
  SyncPoint("supervisor: dispatched");
}

void Connections::DispatchWaiting(Instant now, Strategy& strategy) {
  if (waiting_.empty()) return;
  const bool paused = gate_.resume_at(now) != net::Never();
  // A connection that is dispatched again and comes back is dispatched in a
  // later turn.
  dispatched_again_.swap(waiting_);
  for (Waiting& waiting : dispatched_again_) {
    const bool is_refused = waiting.give_up_at != net::Never();
    const bool waits =
        (is_refused && paused) || (waiting.awaits_room && !strategy.HasRoom());
    if (waits && !terminating_ && !Expired(waiting.slot)) {
      waiting_.push_back(std::move(waiting));
    } else {
      DispatchAgain(std::move(waiting), now, strategy);
    }
  }
  dispatched_again_.clear();
}

void Connections::DispatchAgain(Waiting waiting, Instant now,
                                Strategy& strategy) {
  const Slot slot = waiting.slot;
  waiting.registration = proc::PrivateFdRegistration();
  if (Expired(slot)) {
    const Scoreboard::Entry entry = scoreboard_.entry(slot);
    scoreboard_.RetireExpired(slot);
    gate_.ChildEnded();
    deadlines_->Forget(slot);
    LogAndReport(entry, waiting.pid, waiting.status, now);
  } else if (terminating_) {
    scoreboard_.RetireShed(slot);
    deadlines_->Forget(slot);
  } else {
    scoreboard_.Started(slot, /*pid=*/0, now);
    give_up_at_ = waiting.give_up_at;
    strategy.Dispatch(slot, std::move(waiting.connection), now, *this);
    give_up_at_ = net::Never();
  }
}

bool Connections::Expired(Slot slot) const {
  const Scoreboard::Entry& entry = scoreboard_.entry(slot);
  return entry.signalled_by_us && entry.kill_reason != KillReason::kStop;
}

// Sends SIGKILL, which a child cannot block, and which also ends a stopped
// process.
void Connections::KillExpired(Instant now) {
  // If the kernel does not report the processor time, only bytes decide: a
  // number that never changes counts as no use of a processor.
  const auto processor_time_of = [&](Slot slot) {
    return reaper_->ProcessorTime(scoreboard_.entry(slot).pid)
        .value_or(absl::ZeroDuration());
  };
  deadlines_->Check(now, processor_time_of, [&](Slot slot, KillReason reason) {
    const Scoreboard::Entry& entry = scoreboard_.entry(slot);
    if (entry.pid == 0) {
      // There is no process yet. A connection that waits is not dispatched
      // again.
      for (const Waiting& waiting : waiting_) {
        if (waiting.slot == slot) scoreboard_.Signalled(slot, reason);
      }
      return;
    }
    if (!entry.signalled_by_us) log_->Expired(entry.pid, entry.peer, reason);
    scoreboard_.Signalled(slot, reason);
    SyncPoint("supervisor: deadline over");
    const absl::Status sent = reaper_->Signal(entry.pid, SIGKILL);
    if (!sent.ok()) LogRefusal(entry.pid, 1, sent);
  });
}

// A signal that is refused now will be refused again. A child that does not
// exist any more is no error: other code has reaped it, and the next sweep
// finds that out.
void Connections::LogRefusal(pid_t pid, size_t count, const absl::Status& why) {
  if (absl::IsNotFound(why)) return;
  const uint32_t bit = uint32_t{1} << (why.raw_code() & 31);
  if ((std::exchange(refusals_, refusals_ | bit) & bit) != 0) return;
  log_->SignalRefused(pid, count, why);
}

void Connections::SignalChildren(int signal) {
  terminating_ = true;
  scoreboard_.ForEachLive([&](Slot slot, const Scoreboard::Entry& /*entry*/) {
    scoreboard_.Signalled(slot, KillReason::kStop);
  });
  // Programs that replace this one are not signalled as children.
  const proc::Reaper::Refused refused =
      reaper_->SignalAll(signal, ChildTag::Program().Pack());
  if (refused.count > 0) {
    LogRefusal(refused.pid, refused.count, refused.why);
  }
}

void Connections::LeftInQueue(size_t clients) {
  scoreboard_.LeftInQueue(clients);
  log_->LeftInQueue(clients);
}

void Connections::Serving(Slot slot, pid_t pid, Instant since) {
  log_->Forked(pid, scoreboard_.entry(slot).peer, scoreboard_.running(),
               gate_.max_connections());
  Started(slot, pid, since, slot);
}

void Connections::Assigned(Slot slot, pid_t pid, Instant since, uint32_t page) {
  log_->Assigned(pid, scoreboard_.entry(slot).peer, scoreboard_.running(),
                 gate_.max_connections());
  Started(slot, pid, since, page);
}

void Connections::Started(Slot slot, pid_t pid, Instant since, uint32_t page) {
  ++strategy_reports_;
  scoreboard_.Started(slot, pid, since, page);
  gate_.Succeeded();
  // The process may have become known only after the others were signalled.
  if (terminating_ && reaper_->Signal(pid, SIGTERM).ok()) {
    scoreboard_.Signalled(slot, KillReason::kStop);
  }
}

void Connections::Ended(Slot slot, pid_t pid, const proc::ExitStatus& status,
                        Instant at) {
  // Copied: once retired, the slot may be claimed by another connection.
  const Scoreboard::Entry entry = scoreboard_.entry(slot);
  ++strategy_reports_;
  SyncPoint("supervisor: about to retire");
  scoreboard_.Retire(slot, status);
  deadlines_->Forget(slot);
  gate_.ChildEnded();
  if (status.held()) {
    log_->HeldByTracer(pid, at);
  } else if (status.unknown() && !status.given_up() &&
             !std::exchange(status_was_taken_, true)) {
    log_->StatusTaken(pid);
  }
  LogAndReport(entry, pid, status, at);
}

void Connections::Returned(Slot slot, net::Connection connection, pid_t pid,
                           const proc::ExitStatus& status) {
  ++strategy_reports_;
  proc::PrivateFdRegistration registration(connection.fd());
  waiting_.push_back(
      {slot, std::move(connection), std::move(registration), pid, status});
}

// Keeps the connection, so that the client waits a little longer instead of
// losing it. Nothing is accepted meanwhile, and the connection holds nothing
// but its descriptor.
void Connections::Refused(Slot slot, net::Connection connection,
                          const absl::Status& why, Instant now) {
  ++strategy_reports_;
  const Instant give_up_at =
      give_up_at_ == net::Never() ? net::After(now, kLongestWait) : give_up_at_;
  // FailedPrecondition means that the process has threads.
  const bool is_shortage = !absl::IsFailedPrecondition(why);
  if (!is_shortage || now >= give_up_at || waiting_.size() >= kMostWaiting ||
      terminating_) {
    connection.Close();
    Failed(slot, why, now);
    return;
  }
  log_->ForkDelayed(connection.peer(), why, gate_.Pause(now), now);
  proc::PrivateFdRegistration registration(connection.fd());
  Waiting waiting = {slot, std::move(connection), std::move(registration)};
  waiting.give_up_at = give_up_at;
  waiting_.push_back(std::move(waiting));
}

// Keeps the connection for as long as its deadlines allow: the strategy makes
// room, or fails the connection.
void Connections::Deferred(Slot slot, net::Connection connection,
                           const absl::Status& why, Instant now) {
  if (waiting_.size() >= kMostWaiting || terminating_) {
    connection.Close();
    Failed(slot, why, now);
    return;
  }
  proc::PrivateFdRegistration registration(connection.fd());
  Waiting waiting = {slot, std::move(connection), std::move(registration)};
  waiting.awaits_room = true;
  waiting_.push_back(std::move(waiting));
}

void Connections::Failed(Slot slot, const absl::Status& why, Instant now) {
  ++strategy_reports_;
  const net::PeerAddress peer = scoreboard_.entry(slot).peer;
  scoreboard_.RetireForkFailed(slot);
  deadlines_->Forget(slot);
  log_->ForkFailed(peer, why, gate_.Pause(now), now);
}

void Connections::LogAndReport(const Scoreboard::Entry& entry, pid_t pid,
                               const proc::ExitStatus& status, Instant at) {
  // A child may have claimed `at`, so it is limited.
  const Instant ended_at = std::max(at, entry.started_at);
  ConnectionReport report;
  report.peer = entry.peer;
  report.pid = pid;
  report.status = status;
  report.signalled_by_us = entry.signalled_by_us;
  report.accept_to_child = net::TimeUntil(entry.started_at, entry.accepted_at);
  report.duration = net::TimeUntil(ended_at, entry.accepted_at);
  report.local = entry.local;
  report.number = entry.number;
  report.started = entry.started;
  if (entry.signalled_by_us) report.kill_reason = entry.kill_reason;
  if (handler_reports_ != nullptr) AddTexts(entry, ended_at, &report);
  log_->Ended(report, scoreboard_.running(), gate_.max_connections());
  if (!on_connection_end_) return;
  if (!MemoryAllows([&] { reports_.push_back(std::move(report)); })) {
    log_->CallFailed("Options::on_connection_end", ENOMEM, at);
  }
}

void Connections::AddTexts(const Scoreboard::Entry& entry, Instant ended_at,
                           ConnectionReport* report) const {
  HandlerReport reported;
  handler_reports_->Take(entry.page, entry.accepted_at, ended_at, &reported);
  report->handler_time = reported.handler_time;
  report->linger_time = reported.linger_time;
  const bool has_texts = MemoryAllows([&] {
    report->exception = std::string(reported.exception.view());
    report->annotation = std::string(reported.annotation.view());
  });
  if (!has_texts) report->annotation.clear();
}

// Takes the reports out first: the function of the embedder may run another
// turn of this server.
void Connections::SendReports() {
  if (reports_.empty()) return;
  proc::ParentOnlyVector<ConnectionReport> reports;
  reports.swap(reports_);
  for (const ConnectionReport& report : reports) {
    CallMustNotThrow("Options::on_connection_end",
                     [&] { on_connection_end_(report); });
  }
  if (!reports_.empty()) return;
  reports.clear();
  reports_.swap(reports);  // keeps its memory
}

}  // namespace brood::server

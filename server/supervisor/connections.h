// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_CONNECTIONS_H_
#define BROOD_SERVER_SUPERVISOR_CONNECTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/server/admission/gate.h"
#include "brood/server/connection_report.h"
#include "brood/server/deadlines/deadlines.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/report/handler_report.h"
#include "brood/server/status/scoreboard.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/totals.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

// Connections keeps the record of each connection from accept to its end.
//
// A connection for which no process can be created is kept for a second, and
// tried again. It owns the scoreboard, the deadlines and the gate of admission,
// writes the log line and the report of each connection, and implements what a
// strategy reports to. It never calls a strategy or the embedder from within a
// report: a connection that came back, and a report for the embedder, are
// collected, and acted on when the supervisor says so, at one place of its
// turn.
//
// Process: supervisor, in parent-only memory. Allocates nothing for a
// connection, unless more end in one turn than ever before, or handlers report
// a text. If there is no memory for that, the text is left out, and after it
// the report, which is logged.
// Errors: none; what fails is counted, logged and reported.
//
// Example: see supervisor.cc.
class Connections final : public proc::ParentOnly, public Strategy::Events {
 public:
  // How long a connection waits for a process, and how many may.
  static constexpr absl::Duration kLongestWait = absl::Seconds(1);
  static constexpr size_t kMostWaiting = 8;

  // `reaper`, `log` and `reports` outlive this object; `deadlines` becomes its
  // own. Without `reports`, handlers report nothing.
  Connections(const Options& options, std::unique_ptr<Deadlines> deadlines,
              proc::Reaper* reaper, EventLog* log,
              const HandlerReports* reports = nullptr);

  // Returns whether the next connection may be accepted.
  bool MayAccept(net::Instant now) const {
    return waiting_.empty() && gate_.Open(scoreboard_.running(), now);
  }
  // Reports whether a connection waits to be given to a strategy again.
  bool has_waiting() const { return !waiting_.empty(); }
  // Returns when MayAccept() changes by itself; Never() if it does not.
  net::Instant resume_at(net::Instant now) const {
    return gate_.resume_at(now);
  }
  // Stops accepting for a while because something ran out. Returns for how
  // long.
  absl::Duration Pause(net::Instant now) { return gate_.Pause(now); }

  // Records `connection` and gives it to `strategy`.
  void Dispatch(net::Connection connection, Strategy& strategy);
  // Gives connections that have no process to `strategy` again: those whose
  // process died before it took them over, and, when a pause is over, those for
  // which none could be created. One of the latter is closed kLongestWait after
  // the first attempt. Those for which the strategy had no room wait until it
  // has.
  void DispatchWaiting(net::Instant now, Strategy& strategy);

  // Kills the processes of connections whose deadline has passed.
  void KillExpired(net::Instant now);
  // Returns when KillExpired() must be called next.
  net::Instant next_deadline() const { return deadlines_->next(); }
  // Sends `signal` to every child because the server stops. From now on, a
  // process that becomes known later is sent SIGTERM, and no connection is
  // dispatched again.
  void SignalChildren(int signal);

  // Counts and logs clients whose connections were still in the queue of the
  // kernel when the listeners were closed.
  void LeftInQueue(size_t clients);

  // Calls Options::on_connection_end for each connection that has ended.
  void SendReports();

  // Returns whether as many connections are running as may.
  bool is_full() const { return running() >= gate_.max_connections(); }
  // Returns the number of connections that were accepted and have not ended.
  size_t running() const { return scoreboard_.running(); }
  const Totals& totals() const { return scoreboard_.totals(); }
  // Returns how often the strategy has reported anything.
  uint64_t strategy_reports() const { return strategy_reports_; }

  // Strategy::Events.
  void Serving(Slot slot, pid_t pid, net::Instant since) override;
  void Assigned(Slot slot, pid_t pid, net::Instant since,
                uint32_t page) override;
  void Ended(Slot slot, pid_t pid, const proc::ExitStatus& status,
             net::Instant at) override;
  void Returned(Slot slot, net::Connection connection, pid_t pid,
                const proc::ExitStatus& status) override;
  void Refused(Slot slot, net::Connection connection, const absl::Status& why,
               net::Instant now) override;
  void Deferred(Slot slot, net::Connection connection, const absl::Status& why,
                net::Instant now) override;
  void Failed(Slot slot, const absl::Status& why, net::Instant now) override;
  net::Instant DeadlineOf(Slot slot) override {
    return deadlines_->EndOf(slot);
  }

 private:
  // A connection that has no process. Children that are forked meanwhile do not
  // get its descriptor: the client would wait for them to end.
  struct Waiting {
    Slot slot;
    net::Connection connection;
    proc::PrivateFdRegistration registration;
    // Of the process that ended before it took the connection over; 0 if there
    // was none.
    pid_t pid = 0;
    proc::ExitStatus status = proc::ExitStatus::Unknown();
    // When to give up; Never() if a process has not been refused.
    net::Instant give_up_at = net::Never();
    // Whether it waits until the strategy has room.
    bool awaits_room = false;
  };

  bool Expired(Slot slot) const;
  void LogRefusal(pid_t pid, size_t count, const absl::Status& why);
  void Started(Slot slot, pid_t pid, net::Instant since, uint32_t page);
  void DispatchAgain(Waiting waiting, net::Instant now, Strategy& strategy);
  void AddTexts(const Scoreboard::Entry& entry, net::Instant ended_at,
                ConnectionReport* report) const;
  void LogAndReport(const Scoreboard::Entry& entry, pid_t pid,
                    const proc::ExitStatus& status, net::Instant at);

  proc::Reaper* const reaper_;
  EventLog* const log_;
  const HandlerReports* const handler_reports_;
  const std::function<void(const ConnectionReport&)> on_connection_end_;
  Gate gate_;
  Scoreboard scoreboard_;
  const std::unique_ptr<Deadlines> deadlines_;
  bool terminating_ = false;
  uint64_t strategy_reports_ = 0;
  // Whether the log has said that other code waits for children.
  bool status_was_taken_ = false;
  // The codes of the errors with which a signal was refused so far, a bit for
  // each.
  uint32_t refusals_ = 0;
  proc::ParentOnlyVector<Waiting> waiting_;
  // Those that waited when DispatchWaiting() began.
  proc::ParentOnlyVector<Waiting> dispatched_again_;
  // Of the connection that is being dispatched again.
  net::Instant give_up_at_ = net::Never();
  // Filled while the strategy reports, and emptied by SendReports().
  proc::ParentOnlyVector<ConnectionReport> reports_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_CONNECTIONS_H_

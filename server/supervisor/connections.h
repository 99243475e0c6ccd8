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
// It owns the scoreboard, the deadlines and the gate of admission, writes the
// log line and the report of each connection, and implements the events of a
// strategy. It never calls a strategy or the embedder from within an event:
// connections that the strategy returns, and reports for the embedder, are
// collected, and handled at one place of the turn. A connection for which no
// process can be created is kept for a second, and tried again.
//
// Process: supervisor, in parent-only memory. Allocates nothing for a
// connection, unless more connections end in one turn than ever before, or
// handlers report a text. If there is no memory for that, the text is left out,
// and then the report, which is logged. Errors: none; failures are counted,
// logged and reported.
//
// Example: see supervisor.cc.
class Connections final : public proc::ParentOnly, public Strategy::Events {
 public:
  // How long a connection waits for a process.
  static constexpr absl::Duration kLongestWait = absl::Seconds(1);
  // The largest number of connections that wait for a process.
  static constexpr size_t kMostWaiting = 8;

  // Makes the connections of a server. `reaper`, `log` and `reports` outlive
  // this object, which takes ownership of `deadlines`. Without `reports`,
  // handlers report nothing.
  Connections(const Options& options, std::unique_ptr<Deadlines> deadlines,
              proc::Reaper* reaper, EventLog* log,
              const HandlerReports* reports = nullptr);

  // Returns whether the next connection may be accepted.
  bool MayAccept(net::Instant now) const {
    return waiting_.empty() && gate_.Open(scoreboard_.running(), now);
  }
  // Returns whether a connection waits to be given to a strategy again.
  bool has_waiting() const { return !waiting_.empty(); }
  // Returns when MayAccept() changes by itself; Never() if it does not.
  net::Instant resume_at(net::Instant now) const {
    return gate_.resume_at(now);
  }
  // Begins a pause of accepting because something ran out. Returns its length.
  absl::Duration Pause(net::Instant now) { return gate_.Pause(now); }

  // Records `connection` and gives it to `strategy`.
  void Dispatch(net::Connection connection, Strategy& strategy);
  // Gives connections that have no process to `strategy` again: connections
  // whose process died before it took them over; when a pause is over,
  // connections for which no process could be created, which are closed
  // kLongestWait after the first attempt; and, when the strategy has room,
  // connections for which it had no room.
  void DispatchWaiting(net::Instant now, Strategy& strategy);

  // Kills the processes of connections whose deadline has passed.
  void KillExpired(net::Instant now);
  // Returns when KillExpired() must be called next.
  net::Instant next_deadline() const { return deadlines_->next(); }
  // Sends `signal` to every child because the server stops. From then on, a
  // process that becomes known later is sent SIGTERM, and no connection is
  // dispatched again.
  void SignalChildren(int signal);

  // Counts and logs clients whose connections were still in the queue of the
  // kernel when the listeners were closed.
  void LeftInQueue(size_t clients);

  // Calls Options::on_connection_end for each connection that has ended.
  void SendReports();

  // Returns whether as many connections are running as are allowed.
  bool is_full() const { return running() >= gate_.max_connections(); }
  // Returns the number of connections that were accepted and have not ended.
  size_t running() const { return scoreboard_.running(); }
  // Returns the counters of connections.
  const Totals& totals() const { return scoreboard_.totals(); }
  // Returns how often the strategy has reported anything.
  uint64_t strategy_reports() const { return strategy_reports_; }

  // The events of a strategy; see Strategy::Events.
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
  net::PeerAddress PeerOf(Slot slot) override {
    return scoreboard_.entry(slot).peer;
  }

 private:
  // Waiting is a connection that has no process. Children that are forked
  // meanwhile do not get its descriptor: otherwise the client would see the end
  // of the connection only when they end.
  struct Waiting {
    Slot slot;
    net::Connection connection;
    proc::PrivateFdRegistration registration;
    // The process that ended before it took the connection over; 0 if there was
    // none.
    pid_t pid = 0;
    // The status with which that process ended.
    proc::ExitStatus status = proc::ExitStatus::Unknown();
    // When to give up; Never() if no creation of a process has failed.
    net::Instant give_up_at = net::Never();
    // Whether it waits until the strategy has room.
    bool awaits_room = false;
  };

  // Returns whether a deadline of the connection in `slot` has passed, as
  // KillExpired() has recorded. A signal because the server stops does not
  // count.
  bool Expired(Slot slot) const;
  // Logs that the kernel refused a signal for `count` children, one of which is
  // `pid`, with the error `why`. Logs each code of error once, and NotFound
  // never.
  void LogRefusal(pid_t pid, size_t count, const absl::Status& why);
  // Records that process `pid` has had the connection in `slot` since `since`,
  // and reports to `page`. Sends it SIGTERM if the server is terminating.
  void Started(Slot slot, pid_t pid, net::Instant since, uint32_t page);
  // Gives the connection of `waiting` to `strategy` again. Closes the
  // connection instead if its deadline has passed, and records it as killed; or
  // if the server is terminating, and records it as shed.
  void DispatchAgain(Waiting waiting, net::Instant now, Strategy& strategy);
  // Empties the page of `entry`, and adds the times and texts that the handler
  // reported there to `report`. Leaves out texts for which there is no memory.
  void AddTexts(const Scoreboard::Entry& entry, net::Instant ended_at,
                ConnectionReport* report) const;
  // Logs the end of the connection of `entry`, and stores its report for
  // SendReports() if Options::on_connection_end is set. Without memory for the
  // report, logs that instead of storing it.
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
  // Whether it was logged that other code waits for children.
  bool status_was_taken_ = false;
  // The codes of the errors with which a signal was refused so far, a bit for
  // each.
  uint32_t refusals_ = 0;
  proc::ParentOnlyVector<Waiting> waiting_;
  // The connections that waited when DispatchWaiting() began.
  proc::ParentOnlyVector<Waiting> dispatched_again_;
  // Waiting::give_up_at of the connection that is being dispatched again.
  net::Instant give_up_at_ = net::Never();
  // Filled while the strategy reports, and emptied by SendReports().
  proc::ParentOnlyVector<ConnectionReport> reports_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_CONNECTIONS_H_

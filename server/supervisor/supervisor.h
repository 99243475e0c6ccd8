// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_SUPERVISOR_H_
#define BROOD_SERVER_SUPERVISOR_SUPERVISOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/hardening/process_identity.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/reaper.h"
#include "brood/server/admission/accept_failures.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/control/requests.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/deadlines/deadlines.h"
#include "brood/server/listening/listener_set.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/report/handler_report.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/supervisor/connections.h"
#include "brood/server/supervisor/lifecycle.h"
#include "brood/server/supervisor/poll_set.h"
#include "brood/server/totals.h"
#include "brood/server/upgrade/generations.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/server/upgrade/upgrade.h"

namespace brood::server {

// Supervisor is the loop of the parent. Read supervisor.cc first;
// supervisor_upgrade.cc has the steps that concern other programs, and
// supervisor_stop.cc those that end the server.
//
// There is one thread, and one order of steps in each turn; see Turn(). A child
// is registered before it can be reaped, because both happen in this thread one
// after the other: no signal mask is needed, and there is no race. No component
// is called back while it is calling: work for another component is collected,
// and done in the step of that component. The supervisor reads no byte from a
// client, blocks only in its one poll, allocates nothing for a connection, and
// never ends because of the error of a connection.
//
// Process: parent, in parent-only memory. Not thread-safe.
// Errors: Start() returns those of Strategy::Start(), Run() and Step() those of
// Strategy::Prepare(), and Unavailable when every listener is dead; children
// then had their time to finish.
//
// Example: see tcp_server.cc, which assembles one.
class Supervisor final : public proc::ParentOnly {
 public:
  // Clock returns the time; a test may have its own.
  using Clock = net::Instant (*)();

  // Parts are the components of a supervisor. Components that the options do
  // not ask for exist all the same, and do nothing.
  struct Parts {
    // Holds the listeners, from which connections are accepted.
    Listeners listeners;
    // Owns the children, and returns their ends.
    std::unique_ptr<proc::Reaper> reaper;
    // Gives each connection to a process.
    std::unique_ptr<Strategy> strategy;
    // Decides when the process of a connection is killed.
    std::unique_ptr<Deadlines> deadlines;
    // Turns signals into requests; takes no signal if the embedder does.
    RequestSignals signals;
    // Reports to the program that this one replaces, if there is one.
    Handshake handshake;
    // Notifies the service manager of the state of the server.
    std::unique_ptr<ServiceManager> service_manager;
    // Starts, stops and reaps the other programs of the server.
    std::unique_ptr<Generations> generations;
    // Lets a new program take over.
    std::unique_ptr<Upgrade> upgrade;
    // Holds the requests to stop and to upgrade. Outlives the supervisor.
    const Requests* requests;
    // Logs every event of the server. Outlives the supervisor.
    EventLog* log;
    // Returns the time.
    Clock clock = net::Now;
    // The memory to which handlers report; null if they do not. Outlives the
    // supervisor.
    const HandlerReports* reports = nullptr;
  };

  // The largest number of children that are named in the log when they are
  // given up.
  static constexpr size_t kMostNamed = 8;

  // Assembles a supervisor, which takes no turn before Start().
  Supervisor(const Options& options, Parts parts);
  // Kills and reaps the children that are still alive. Gives up, and logs,
  // children that cannot be killed: they stay children of this process.
  ~Supervisor();

  // Lets the strategy create its first processes. Called once, before anything
  // else.
  absl::Status Start();
  // Takes turns until the server has stopped.
  absl::Status Run();
  // Takes one turn, for a caller with a loop of its own: waits for something to
  // do, for `timeout` at most, and does it. Returns false once the server has
  // stopped.
  absl::StatusOr<bool> Step(absl::Duration timeout);
  // Returns a descriptor that is readable when Step() has something to do.
  absl::StatusOr<int> PollableFd();
  // Gives connections that are accepted from now on to processes that are
  // created from now on; see Strategy::BeginGeneration().
  absl::Status BeginGeneration() { return strategy_->BeginGeneration(); }

  // Returns the counters of connections.
  const Totals& totals() const { return connections_.totals(); }
  // Returns how many upgrades have failed.
  uint64_t upgrades_failed() const { return upgrade_->failures(); }
  // Returns whether another program has taken over; see
  // TcpServer::handed_over().
  bool handed_over() const { return upgrade_->handed_over(); }
  // Returns how the last generation has ended; see Generations::last_status().
  absl::optional<proc::ExitStatus> last_status() const {
    return generations_->last_status();
  }

 private:
  // The fixed sources of poll_.
  enum Source : size_t {
    kSignals,
    kRequests,
    kExits,
    kDeadlines,
    kLifecycle,
    kUpgrade,
    kGenerations,
    kStrategy,
    kAdmission,
    kFirstListener,
  };

  // Calls Strategy::Prepare() and FollowIdentity(). When both succeed for the
  // first time, also rehearses, and reports to the old program and to the
  // service manager that the server is ready. Returns the first error.
  absl::Status PrepareToServe();
  // Calls Strategy::IdentityChanged() if the rights of this process are not
  // those of `identity_`, which it updates. After an error, the next call tries
  // again.
  absl::Status FollowIdentity();
  // Waits for the child of `rehearsal`, if there is one, and logs how children
  // are created if that is not the best way. Returns the error of `rehearsal`
  // if the server could never serve; logs an error that may pass.
  absl::Status Rehearse(const absl::StatusOr<Rehearsal>& rehearsal);
  // Waits until the reaper has returned the end of the child `pid`. Gives up
  // after a second, and logs a warning.
  void AwaitRehearsal(pid_t pid);
  // Records that the child of a rehearsal has ended. Logs a warning unless its
  // exit code is 0 or its status is unknown.
  void RehearsalEnded(const proc::Reaper::Ended& ended);

  // Takes one turn: calls Wait(), then the steps below, down to Publish(), in
  // the order of their declarations. After a stop in StepLifecycle(), leaves
  // out the steps before Publish(). Returns false once the server has stopped.
  bool Turn(absl::Duration timeout);
  // Waits until a source of `poll_` is due, for `timeout` at most. Returns the
  // time after the wait. If the kernel cannot poll, logs that; every source
  // that is polled counts as readable then.
  net::Instant Wait(absl::Duration timeout);
  // Receives the messages of other programs of this server, and acts on them:
  // requests, the start or the end of the new program, and the end of the main
  // process.
  void AttendGenerations(net::Instant now);
  // Takes the requests that signals and the embedder have made, passes on those
  // that are for another program, and obeys the others: calls RequestStop() or
  // StartUpgrade().
  void TakeRequests(net::Instant now);
  // Calls TakeEnds() if the reaper has a notice, or its next check is due.
  void CleanupChildren(net::Instant now);
  // Reaps children that have ended, and passes each end to ProgramEnded(), to
  // RehearsalEnded() or to the strategy. Called by CleanupChildren(), and while
  // a rehearsal is awaited.
  void TakeEnds(net::Instant now);
  // Kills the processes of connections whose deadline has passed, if the alarm
  // of the deadlines is due.
  void KillExpired(net::Instant now);
  // Does what Lifecycle::Step() returns, until it returns kNone: reports,
  // terminates, kills or gives up the children. Logs the totals when the server
  // has stopped.
  void StepLifecycle(net::Instant now);
  // Advances the upgrade, and begins to drain when the new program has taken
  // over. Applies the settings of the listeners again when an upgrade has
  // failed.
  void StepUpgrade(net::Instant now);
  // Lets the strategy process its events if its descriptor is readable, or if
  // it has none for now; then lets it create and dismiss processes.
  void MaintainStrategy(net::Instant now);
  // Gives connections that have no process to the strategy again; see
  // Connections::DispatchWaiting().
  void DispatchWaiting(net::Instant now);
  // Accepts a limited number of connections from each readable listener, or,
  // while the server drains, from each open one. Once all listeners are closed,
  // goes on to stop; with an error for Run() if they are dead.
  void AcceptBatch(net::Instant now);
  // Updates the descriptor of PollableFd(), if that was called.
  void Publish(net::Instant now);

  // Calls `step`. If memory runs out in it, leaves out the rest of the step,
  // logs that, and sleeps for kBlindPeriod. Other exceptions pass through.
  void Take(void (Supervisor::*step)(net::Instant), net::Instant now);
  // Sets the descriptor and the alarm of each source of `poll_`. Masks the
  // listeners from which no connection could be served now.
  void ChooseWhatToPoll(net::Instant now);
  // Returns whether a connection could be admitted and dispatched now. Returns
  // false while a new program accepts connections, unless this server drains.
  bool MayAccept(net::Instant now) const;
  // Accepts a connection from the listener `index` and dispatches it. Returns
  // whether the listener may have another one. Closes the listener if it is
  // dead, or, while the server drains, once its queue is empty or its limit is
  // reached. Logs a failure of accept, which may begin a pause.
  bool AcceptOne(size_t index, net::Instant now);
  // Counts and logs the clients that are still queued at open listeners, unless
  // another program uses the listeners and serves their queues.
  void CountLeftInQueue();
  // Closes the strategy, once, when no connection will be accepted any more and
  // none waits for a process. Does nothing before that.
  void CloseStrategy();
  // Closes every open listener, without accepting the clients in its queue, and
  // calls ListenersClosed().
  void CloseListeners();
  // Closes the listener `index`, and stops polling it. A listener that ends
  // with the server stops listening in other processes, too, unless another
  // program may go on with it.
  void CloseListener(size_t index);
  // Records that no connection will be accepted any more: closes the strategy
  // as soon as no connection waits, and notifies the new program that has taken
  // over, if there is one.
  void ListenersClosed();
  // Starts a new program if this server serves. Passes the request on if a new
  // program has taken over already; logs that it is ignored if the server
  // stops.
  void StartUpgrade(net::Instant now);
  // Requests that this server drains, terminates or kills, depending on how
  // often it was called (see Lifecycle::RequestStop()), and that other
  // generations stop. The first call cancels an upgrade in progress.
  void RequestStop(net::Instant now);
  // Records the end of a program that this server has started. Fails the
  // upgrade if it was the new program; requests a stop, with an error for
  // Run(), if it was the program that serves and no stop was requested.
  void ProgramEnded(const proc::Reaper::Ended& ended, net::Instant now);
  // Closes the listeners because the main process has ended. Drains without a
  // limit, unless a stop was requested; kills the children at once if
  // Options::on_parent_death is kDie.
  void MainProcessEnded(net::Instant now);
  // Logs that the server drains, and limits how many connections each listener
  // may still bring in. The listeners are closed later, by AcceptOne().
  void DrainListeners(net::Instant now);
  // Returns how many processes a stop waits for: children of every kind,
  // connections that have no process yet, and, once a stop was requested,
  // generations that are not children. Once `gave_up_` is set, only children
  // count.
  size_t LiveChildren() const;
  // Sends SIGKILL to every child that is not a program, and, after
  // Generations::kLastDelay, to the other generations. Logs the first call.
  // Gives up the children when Lifecycle::kLooks calls in a row found only some
  // that cannot be killed.
  void Kill(net::Instant now);
  // Gives up the children that are left, and logs their number and up to
  // kMostNamed of their pids. The reaper returns their ends in the next turn.
  void GiveUpChildren();
  // Returns whether no other program has a copy of the listeners and may go on
  // with them: neither the program that this server has started, nor the
  // program that it replaces.
  bool HasListenersToItself();

  const OnParentDeath on_parent_death_;
  const Clock clock_;
  EventLog& log_;
  const Requests& requests_;
  const RequestSignals signals_;
  Handshake handshake_;
  const std::unique_ptr<ServiceManager> service_manager_;
  // Declared before `strategy_`, which uses it, so that it is destroyed later.
  const std::unique_ptr<proc::Reaper> reaper_;
  const std::unique_ptr<Strategy> strategy_;
  const std::unique_ptr<Generations> generations_;
  const std::unique_ptr<Upgrade> upgrade_;
  ListenerSet listeners_;
  // The settings of listeners, which are applied again after a failed upgrade.
  const ListenerSettings listener_settings_;
  uint64_t upgrade_failures_seen_ = 0;
  // One for each listener.
  proc::ParentOnlyVector<AcceptFailures> accept_failures_;
  Lifecycle lifecycle_;
  Connections connections_;
  // The fixed sources, then one for each listener.
  PollSet poll_;
  // Whether it was reported to the service manager and to the old program that
  // connections are accepted.
  bool reported_ready_ = false;
  // The child of the rehearsal, until it has ended; 0 if there is none.
  pid_t rehearsed_pid_ = 0;
  // Whether the way in which children are created was logged.
  bool fallback_logged_ = false;
  // The identity with which handlers run.
  proc::ProcessIdentity identity_;
  // The latest look, which is kept so that the next one allocates nothing.
  proc::ProcessIdentity identity_now_;
  // Whether no connection will be accepted any more.
  bool all_accepted_ = false;
  // Whether the strategy was closed because of that.
  bool strategy_closed_ = false;
  // Whether a stop was requested.
  bool stopping_ = false;
  // Whether children are being sent SIGKILL because the server stops.
  bool killing_ = false;
  // How many times in a row only children that cannot be killed were left.
  int unkillable_looks_ = 0;
  // Whether the server stops, and no longer waits for connections without a
  // child, or for programs that are not its children.
  bool gave_up_ = false;
  // The error with which Run() ends; OK if a stop was requested.
  absl::Status status_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_SUPERVISOR_H_

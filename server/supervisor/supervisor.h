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
    Listeners listeners;
    std::unique_ptr<proc::Reaper> reaper;
    std::unique_ptr<Strategy> strategy;
    std::unique_ptr<Deadlines> deadlines;
    RequestSignals signals;
    Handshake handshake;
    std::unique_ptr<ServiceManager> service_manager;
    std::unique_ptr<Generations> generations;
    std::unique_ptr<Upgrade> upgrade;
    // Both outlive the supervisor.
    const Requests* requests;
    EventLog* log;
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

  absl::Status PrepareToServe();
  absl::Status FollowIdentity();
  absl::Status Rehearse(const absl::StatusOr<Rehearsal>& rehearsal);
  void AwaitRehearsal(pid_t pid);
  void RehearsalEnded(const proc::Reaper::Ended& ended);

  // The turn and its steps, in this order.
  bool Turn(absl::Duration timeout);
  net::Instant Wait(absl::Duration timeout);
  void AttendGenerations(net::Instant now);
  void TakeRequests(net::Instant now);
  void CleanupChildren(net::Instant now);
  void TakeEnds(net::Instant now);
  void KillExpired(net::Instant now);
  void StepLifecycle(net::Instant now);
  void StepUpgrade(net::Instant now);
  void MaintainStrategy(net::Instant now);
  void DispatchWaiting(net::Instant now);
  void AcceptBatch(net::Instant now);
  void Publish(net::Instant now);

  void Take(void (Supervisor::*step)(net::Instant), net::Instant now);
  void ChooseWhatToPoll(net::Instant now);
  bool MayAccept(net::Instant now) const;
  bool AcceptOne(size_t index, net::Instant now);
  void CountLeftInQueue();
  void CloseStrategy();
  void CloseListeners();
  void CloseListener(size_t index);
  void ListenersClosed();
  void StartUpgrade(net::Instant now);
  void RequestStop(net::Instant now);
  void ProgramEnded(const proc::Reaper::Ended& ended, net::Instant now);
  void MainProcessEnded(net::Instant now);
  void DrainListeners(net::Instant now);
  size_t LiveChildren() const;
  void Kill(net::Instant now);
  void GiveUpChildren();
  bool HasListenersToItself();

  const OnParentDeath on_parent_death_;
  const Clock clock_;
  EventLog& log_;
  const Requests& requests_;
  const RequestSignals signals_;
  Handshake handshake_;
  const std::unique_ptr<ServiceManager> service_manager_;
  // In this order, because the strategy uses the reaper until it is destroyed.
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

// Supervisor: the loop of the parent. Read supervisor.cc first; everything else
// in this tree is a footnote to it.
//
// One thread, and one order of things in each turn: take requests, clean up
// children, enforce deadlines, step the lifecycle and an upgrade, maintain the
// strategy, accept a bounded batch. A child is on the books before anything can
// be reaped, because both happen in this thread one after the other: there is
// no mask to hold and no race to lose. It reads no byte from a client, never
// blocks but in its one poll, allocates nothing for a connection, and ends for
// no connection's error.
//
// Lives in the parent. Not thread-safe.
// Errors: Start() gives those of Strategy::Start(), Run() and Step() those of
// Strategy::Prepare(), and Unavailable when every listener is dead; children
// then had their time to finish.
//
// Example: see tcp_server.cc, which puts one together.

#ifndef BROOD_SERVER_SUPERVISOR_SUPERVISOR_H_
#define BROOD_SERVER_SUPERVISOR_SUPERVISOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/server/admission/gate.h"
#include "brood/server/connection_report.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/control/requests.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/deadlines/deadlines.h"
#include "brood/server/listening/listener_set.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/status/scoreboard.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/supervisor/lifecycle.h"
#include "brood/server/supervisor/poll_set.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/server/upgrade/upgrade.h"

namespace brood::server {

class Supervisor final : public proc::ParentOnly, private Strategy::Events {
 public:
  // What a supervisor is put together from. `log` outlives it; `signals` may be
  // missing. Made in this order: the strategy knows the reaper.
  struct Parts {
    Listeners listeners;
    // Outlive the supervisor.
    const Requests* requests;
    absl::optional<RequestSignals> signals;
    std::unique_ptr<proc::Reaper> reaper;
    std::unique_ptr<Strategy> strategy;
    std::unique_ptr<Deadlines> deadlines;  // null if there are none
    std::unique_ptr<Upgrade> upgrade;      // null if there are none
    absl::optional<Predecessor> predecessor;
    std::unique_ptr<ServiceManager> service_manager;  // null if there is none
    EventLog* log;
  };

  Supervisor(const Options& options, Parts parts);
  // Children that still live are killed and reaped.
  ~Supervisor();

  // Once, before anything else: lets the strategy make its first processes.
  absl::Status Start();
  // Turns until stopped.
  absl::Status Run();
  // One turn, for a caller with a loop of its own: waits for something to do,
  // `patience` at most, and does it. False once the server has stopped.
  absl::StatusOr<bool> Step(absl::Duration patience);
  // A descriptor that is readable when Step() has something to do.
  absl::StatusOr<int> PollableFd();
  // See Strategy.
  absl::Status BeginGeneration() { return parts_.strategy->BeginGeneration(); }

  const Totals& totals() const { return scoreboard_.totals(); }
  uint64_t upgrades_failed() const {
    return parts_.upgrade == nullptr ? 0 : parts_.upgrade->failures();
  }

 private:
  absl::Status PrepareToServe();
  bool Turn(absl::Duration patience);
  void AwaitEvents(absl::Duration patience);
  net::Instant ChooseWhatToPoll(net::Instant now);
  bool NewsCanWait(net::Instant now) const;
  void TakeRequests(net::Instant now);
  void CleanupChildren(net::Instant now);
  void EnforceDeadlines(net::Instant now);
  void StepLifecycle(net::Instant now);
  void StepUpgrade(net::Instant now);
  void MaintainStrategy(net::Instant now);
  void AcceptBatch(net::Instant now);

  bool MayAccept(net::Instant now) const;
  bool AcceptOne(size_t index, net::Instant now);
  void Dispatch(net::Connection connection);

  // What became of a connection, from the strategy.
  void Serving(Scoreboard::Slot slot, pid_t pid, net::Instant since) override;
  void Ended(Scoreboard::Slot slot, pid_t pid, const proc::ExitStatus& status,
             net::Instant at) override;
  void Returned(Scoreboard::Slot slot, net::Connection connection) override;
  void Failed(Scoreboard::Slot slot, const absl::Status& why) override;

  size_t LiveChildren() const;
  void Forget(Scoreboard::Slot slot);
  void SignalChildren(int signal);
  void CloseListener(size_t index);
  void ListenersClosed();
  void StartUpgrade(net::Instant now);
  void RequestStop(net::Instant now);
  void EmptyQueues(net::Instant now);

  proc::Reaper& reaper() { return *parts_.reaper; }
  EventLog& log() { return *parts_.log; }

  Parts parts_;
  Lifecycle lifecycle_;
  Admission admission_;
  Scoreboard scoreboard_;
  const std::function<void(const ConnectionReport&)> on_connection_end_;
  ListenerSet listeners_;
  absl::Status status_;
  // Children do not see what is polled, nor the log's descriptor.
  std::vector<proc::HiddenFd> hidden_;
  // The fixed places, then one for each listener.
  PollSet poll_;
  // Whether everybody who waited for it knows that connections are accepted.
  bool said_ready_ = false;
  // Until when news of the strategy's can wait for another reason to wake.
  net::Instant news_due_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_SUPERVISOR_H_

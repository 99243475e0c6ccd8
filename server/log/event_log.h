// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_EVENT_LOG_H_
#define BROOD_SERVER_LOG_EVENT_LOG_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/proc/exit_status.h"
#include "brood/server/connection_report.h"
#include "brood/server/log/event.h"
#include "brood/server/log/event_writer.h"
#include "brood/server/log/exit_fields.h"
#include "brood/server/log/text_format.h"
#include "brood/server/log_level.h"
#include "brood/server/totals.h"

namespace brood::server {

// EventLog writes each event as one line to standard error, by one write, or
// passes it to a function of the embedder.
//
// The log never stops the service; see event_writer.h for what happens to lines
// that cannot be written at once. Events that come in floods (a shortage,
// network errors) are written once a second at most.
//
// Lives in the parent; the methods whose comments name the child are called in
// a child. Allocates nothing after its creation. Each method makes an Event,
// whose name and keys appear in a JSON line.
//
// Example:
//   EventLog log(LogLevel::kInfo);
//   log.Forked(pid, peer, /*running=*/3, /*cap=*/1000);
class EventLog {
 public:
  // Writes the events whose level is at least `level`.
  explicit EventLog(LogLevel level, LogFormat format = LogFormat::kText,
                    TimeStamp stamp = TimeStamp::kNone);
  // Writes events as `settings` says, and exit codes with the meaning that
  // `exit_codes` gives them.
  explicit EventLog(LogSettings settings,
                    ExitCodes exit_codes = ExitCodes::kOfHandlers);
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // The server.

  // Logs that the server listens on `endpoint`.
  void Listening(const net::Endpoint& endpoint);
  // Logs that the inherited listener `fd` is closed because no entry of
  // Options::listen asks for it.
  void InheritedListenerUnused(int fd, const net::Endpoint& endpoint);
  // Logs, as `level`, that the inherited listener on `endpoint` serves `entry`
  // of Options::listen and accepts more connections than the entry names.
  void InheritedListenerWider(const net::Endpoint& endpoint,
                              absl::string_view entry, LogLevel level);
  // Logs that the file of an inherited unix socket does not lead to it.
  void ListenerUnreachable(const net::Endpoint& endpoint,
                           absl::string_view why);
  // Logs that a unix socket is bound again, in place of the inherited one,
  // whose file does not lead to it.
  void ListenerRebound(const net::Endpoint& endpoint, absl::string_view why);
  // Logs that `option`, a field of Options, has no effect on an inherited
  // listener.
  void OptionNotApplied(absl::string_view option, const net::Endpoint& endpoint,
                        absl::string_view why);
  // Logs that the variables of a service manager have no listener for this
  // process.
  void ListenFdsIgnored(absl::string_view why);
  // Logs `what`: the changes to this process when it was prepared, and what is
  // unusual in it.
  void Inherited(absl::string_view what);
  // Logs that children are created in another `way` than the best one; see
  // proc::SpawnFallback.
  void SpawnFallback(absl::string_view way, absl::string_view why);
  // Logs that the first child, which the server creates at its start as a test,
  // could not be created, or did not end as it should.
  void RehearsalFailed(const absl::Status& why);
  // Logs that the limit of queued signals is below the `cap` of connections.
  void SignalQueueTooSmall(uint64_t limit, size_t cap);
  // Logs that the `limit` of descriptors is below the number that may be
  // `needed`; `what_for` lists the parts of that number.
  void DescriptorsShort(uint64_t limit, size_t needed,
                        absl::string_view what_for);
  // Logs that a notification, of which the first line of `lines` is logged,
  // could not be sent to the service manager.
  void NotifyFailed(absl::string_view lines, const absl::Status& why);
  // Logs that the server stops, or was replaced if `grace` is infinite, and
  // waits for at most `grace`.
  void Draining(size_t running, absl::Duration grace);
  // Logs that the children are sent SIGTERM.
  void Terminating(size_t running);
  // Logs that the children are sent SIGKILL.
  void Killing(size_t running);
  // Logs that a signal to end the child `pid` was refused, as it was for
  // `count` children in all.
  void SignalRefused(pid_t pid, size_t count, const absl::Status& why);
  // Logs that the child `pid` has ended but a tracer holds its status, and that
  // its slot is free.
  void HeldByTracer(pid_t pid, net::Instant now);
  // Logs that `count` children cannot be killed and are left, when the server
  // stops; `pids` are the first of them.
  void LeftBehind(size_t count, absl::Span<const pid_t> pids);
  // Logs that the connections of clients that still waited in the queue are
  // reset.
  void LeftInQueue(size_t clients);
  // Logs the end of the server, as an error if `totals` are not balanced.
  void Stopped(const Totals& totals);

  // Connections.

  // Logs that the process `pid` was created to handle `peer`.
  void Forked(pid_t pid, const net::PeerAddress& peer, size_t running,
              size_t cap);
  // Logs that the process `pid`, which was created before, handles `peer`.
  void Assigned(pid_t pid, const net::PeerAddress& peer, size_t running,
                size_t cap);
  // Logs, in the child, that the handler is called.
  void Handling(const net::PeerAddress& peer);
  // Logs, in the child, that Options::prepare_child failed.
  void NotPrepared(const absl::Status& why);
  // Logs, in the child, the message of an exception that the handler threw.
  void HandlerThrew(const net::PeerAddress& peer, absl::string_view what);
  // Logs, in the parent, what a child would log by HandlerThrew(): `why` the
  // program that was to serve the client was not executed.
  void ProgramNotExecuted(const net::PeerAddress& peer,
                          const absl::Status& why);
  // Logs, in the child, that the handler returned `code`, which is not an exit
  // code.
  void BadExitCode(const net::PeerAddress& peer, int code);
  // Logs the end of a connection; as a warning if its handler failed, its
  // process crashed or its deadline has passed.
  void Ended(const ConnectionReport& report, size_t running, size_t cap);
  // Logs that other code of this program has waited for the child `pid`.
  void StatusTaken(pid_t pid);
  // Logs, as a warning, that a child is killed because of a deadline.
  void Expired(pid_t pid, const net::PeerAddress& peer, KillReason deadline);

  // Upgrades.

  // Logs that the program at `path` was started to replace this one.
  void UpgradeStarted(pid_t pid, absl::string_view path);
  // Logs that a request for an upgrade has no effect.
  void UpgradeIgnored(absl::string_view why);
  // Logs that the new program is ready.
  void SuccessorReady(pid_t pid);
  // Logs that the new program has replaced this one.
  void HandedOver(pid_t pid);
  // Logs that an upgrade failed, the `failures`th; `pid` is 0 if the program
  // was not started.
  void UpgradeFailed(pid_t pid, const absl::Status& why, uint64_t failures);

  // Logs that a program which had taken over has ended.
  void GenerationEnded(pid_t pid, const proc::ExitStatus& status);
  // Logs that the main process has ended, and that this one stops.
  void MainProcessEnded();
  // Logs that a server which was replaced still waits for `running` children.
  void WaitingForChildren(size_t running);

  // Failures that the server recovers from.

  // Logs that fork failed for a connection, and is tried again after `pause`.
  void ForkDelayed(const net::PeerAddress& peer, const absl::Status& why,
                   absl::Duration pause, net::Instant now);
  // Logs that a connection was closed because fork failed, and that the server
  // accepts again after `pause`.
  void ForkFailed(const net::PeerAddress& peer, const absl::Status& why,
                  absl::Duration pause, net::Instant now);
  // Logs that accept failed with `error` and is called again after `pause`, or
  // earlier if the shortage may be over.
  void AcceptPaused(const net::Endpoint& listener, int error,
                    absl::Duration pause, net::Instant now);
  // Logs that accept failed with `error`, for one connection alone.
  void AcceptFailed(const net::Endpoint& listener, int error, net::Instant now);
  // Logs that a listener is closed because accept failed with `error`.
  void ListenerDead(const net::Endpoint& listener, int error);
  // Logs that clients of other machines may connect to `listener` and stay for
  // as long as they want.
  void NoDeadline(const net::Endpoint& listener);
  // Logs that deadlines.peer is enforced by the kernel alone, because it cannot
  // be asked about the connections of `listener`.
  void PeerTimeoutLeftToKernel(const net::Endpoint& listener,
                               const absl::Status& why);
  // Logs that the kernel was not able to answer about a connection, and is
  // asked again.
  void ConnectionsNotVisible(const absl::Status& why, net::Instant now);
  // Logs that a system call failed that is expected to succeed, and is
  // repeated.
  void CallFailed(const char* call, int error, net::Instant now);

  // Logs that `source`, which the supervisor polls, was readable again and
  // again although there was nothing to read, and is polled again after
  // `pause`.
  void PollPaused(const char* source, absl::Duration pause, net::Instant now);

  // Processes that are forked before a connection needs them.

  // Logs that a worker ended before it was ready; the next one is forked after
  // `pause`.
  void WorkerDiedAtStart(pid_t pid, const proc::ExitStatus& status,
                         absl::Duration pause);
  // Logs that a worker is made to end because it broke a rule; `why` names it.
  void WorkerDismissed(pid_t pid, absl::string_view why, net::Instant now);
  // Logs that no process could be forked ahead; the next try is after `pause`.
  void PreforkFailed(const absl::Status& why, absl::Duration pause);
  // Logs which process is the zygote.
  void ZygoteServes(pid_t pid);
  // Logs that the zygote has done nothing for too long, while `waiting`
  // connections waited for it, and that it is killed or continued.
  void ZygoteStalled(pid_t pid, size_t waiting);
  // Logs that the zygote is replaced, because `what` of this process, such as
  // its user, has changed since the zygote was created.
  void ZygoteReplaced(absl::string_view what);
  // Logs that `option`, a field of Options that hardens children, has no
  // effect.
  void HardeningRefused(absl::string_view option, const absl::Status& why);
  // Logs that the zygote ended.
  void ZygoteEnded(pid_t pid, const proc::ExitStatus& status);

  // Returns whether the parent has logged an event since the last call. If so,
  // data of the line, such as addresses of clients, is still on the stack below
  // the caller.
  bool TakeHasWritten() { return writer_.TakeHasWritten(); }
  // Returns the number of lines that could not be written, by this process and
  // its children, or were left out.
  uint64_t dropped() const { return writer_.dropped(); }
  // Returns the descriptor that the log opened for itself, to be closed in
  // children; -1 if there is none.
  int own_fd() const { return writer_.own_fd(); }

 private:
  // Flood is a kind of event that comes in floods.
  enum Flood {
    kForkDelayed,
    kForkFailed,
    kAcceptPaused,
    kAcceptFailed,
    kCallFailed,
    kNotVisible,
    kHeldByTracer,
    kPollPaused,
    kWorkerDismissed
  };
  static constexpr size_t kFloods = 9;

  // Throttle is the state of one kind of flood.
  struct Throttle {
    net::Instant quiet_until = net::Instant::min();
    uint64_t suppressed = 0;
  };

  // Reports whether events of `level` are written.
  bool Wants(LogLevel level) const { return writer_.Wants(level); }
  // Writes an event of the parent; `lines` as in EventWriter::Write().
  void Log(const Event& event, int lines = 0);
  // Writes an event that comes in floods, at most once a second, with the
  // number of those that were suppressed since the last one as the last field.
  void LogThrottled(Flood flood, net::Instant now, Event& event);

  const ExitCodes exit_codes_;
  EventWriter writer_;
  std::array<Throttle, kFloods> throttles_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_EVENT_LOG_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_UPGRADE_H_
#define BROOD_SERVER_UPGRADE_UPGRADE_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/event_fd.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/private_fds.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/listening/lent_listener.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generations.h"

namespace brood::server {

// Upgrade starts a new program that takes over from this one, without a lost
// connection.
//
// The program is started from the same path with the same arguments, and gets
// the same listening descriptors (handshake.h). This program serves on until
// the new one reports that it is ready, then stops accepting, and drains once
// the new one has lived for kProof. If the new program fails before that, this
// one serves on.
//
//   kIdle ──Start──▶ kStarting ──"ready"──▶ kProving ──kProof──▶ kHandedOver
//     ▲                  │                     │
//     └── it has ended ──┴── or was killed ────┘
//
// Process: the parent; belongs to the supervisor. Generations start and reap
// the new program. One upgrade at a time is in progress. Errors: Create() names
// the call. Every other failure is a failed upgrade: it is logged with its
// reason, and counted.
class Upgrade {
 public:
  // How long a new program must live after it has reported that it is ready.
  static constexpr absl::Duration kProof = absl::Milliseconds(200);

  // Returns an object for options.upgrade. Without a command, every request is
  // refused. `manager`, `generations` and `log` outlive this object.
  static absl::StatusOr<std::unique_ptr<Upgrade>> Create(
      const Options& options, ServiceManager* manager, Generations* generations,
      EventLog* log);

  // Starts the new program with `listeners`, which stay the caller's. If an
  // upgrade is in progress already, logs that and does nothing.
  void Start(const std::vector<LentListener>& listeners, net::Instant now);
  // Advances the upgrade. Must be called when fd() is readable or deadline()
  // has passed. Returns true once, when the new program has taken over.
  bool Step(net::Instant now);
  // Records that the new program is the process `pid`; for a program that the
  // main process has started.
  void Started(pid_t pid);
  // Records that the new program could not be started.
  void NotStarted(const absl::Status& why);
  // Records that the new program ended with `status`.
  void Ended(const proc::ExitStatus& status, net::Instant now);
  // Records that this program has closed the listeners, and reports it to the
  // new program, if there is one: all further clients are for that program.
  void ListenersClosed();
  // Cancels an upgrade in progress because this server stops. Kills the new
  // program if it is still starting; requests that it stops if it accepts
  // connections already. It remains a child until it is reaped.
  void Abandon();

  // Returns whether there is no new program: none was started, or it has ended.
  bool idle() const { return state_ == State::kIdle; }
  // Returns whether the new program accepts connections, and this one must not.
  bool other_accepts() const { return state_ >= State::kProving; }
  // Returns whether the new program has taken over.
  bool handed_over() const { return state_ >= State::kHandedOver; }
  // Returns a descriptor that is readable when Step() has something to do, or
  // -1 if Step() would not read it: while the pid of the new program is not
  // known yet, and after the time in which it had to be ready.
  int fd() const { return AwaitsReadiness() ? ready_.fd() : -1; }
  // Returns when to call Step() even if nothing happens.
  net::Instant deadline() const { return deadline_; }
  // Returns how many upgrades have failed.
  uint64_t failures() const { return failures_; }

 private:
  enum class State { kIdle, kStarting, kEnding, kProving, kHandedOver, kOver };

  // Makes an object without a new program. `ready`, the counter that a new
  // program inherits, owns no descriptor if there is no command.
  Upgrade(const Options& options, net::EventFd ready, ServiceManager* manager,
          Generations* generations, EventLog* log);
  // Returns whether the new program is known by its pid, and not ready yet.
  bool AwaitsReadiness() const {
    return state_ == State::kStarting && pid_ != 0;
  }
  // Begins the time kProof if the new program has reported that it is ready.
  void TakeReadiness(net::Instant now);
  // Makes the new program take over, and returns true. If it has ended by now,
  // records a failed upgrade and returns false.
  bool TryHandOver(net::Instant now);
  // Stores why the new program is told to end.
  void EndBecause(absl::Status why);
  // Ends the upgrade because of `why`. Only logs it if that is Cancelled.
  // Otherwise counts a failure as well, and notifies the service manager that
  // this program serves on.
  void Fail(const absl::Status& why);

  const bool has_command_;
  const absl::Duration timeout_;
  ServiceManager* const manager_;
  Generations* const generations_;
  EventLog* const log_;
  // The new program inherits this, and notifies it when it is ready.
  const proc::Private<net::EventFd> ready_;
  State state_ = State::kIdle;
  // The pid of the new program; 0 if there is none, or if it is not known yet.
  pid_t pid_ = 0;
  net::Instant deadline_ = net::Never();
  // Why the new program was told to end, until it has ended.
  absl::Status why_ended_;
  uint64_t failures_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_UPGRADE_H_

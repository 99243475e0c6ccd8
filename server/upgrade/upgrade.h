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

// Upgrade lets a program that is started take over from this one, without
// a lost connection.
//
// The program is started from the same path, with the same arguments: what has
// been installed at the path meanwhile is what runs. It gets the very same
// listening descriptors (handshake.h says how), so clients wait in the same
// queue whichever program accepts from it. This program serves on until the new
// one reports that it is ready, then stops accepting, and drains once that one
// has lived for kProof. However the new program fails before, whether it is
// missing, ends, hangs or crashes at once, this one serves on.
//
//   kIdle ──Start──▶ kStarting ──"ready"──▶ kProving ──kProof──▶ kHandedOver
//     ▲                  │                     │
//     └── it has ended ──┴── or was killed ────┘
//
// Process: the parent; belongs to the supervisor. Generations start and reap
// the new program. One at a time is in flight.
//
// Errors: Create() names the call. Everything else that can fail is an upgrade
// that failed: logged with its reason, and counted.
//
// Example:
//   auto upgrade = Upgrade::Create(options, manager, &generations, &log);
//   (*upgrade)->Start(listeners, now);
//   ... poll (*upgrade)->fd() until (*upgrade)->deadline() ...
//   if ((*upgrade)->Step(now)) Drain();  // the other one serves
class Upgrade {
 public:
  // How long a new program must live after it said that it is ready.
  static constexpr absl::Duration kProof = absl::Milliseconds(200);

  // By options.upgrade. Without a command, every request is refused. The others
  // outlive this object.
  static absl::StatusOr<std::unique_ptr<Upgrade>> Create(
      const Options& options, ServiceManager* manager, Generations* generations,
      EventLog* log);

  // Starts the program with `listeners`, which stay the caller's. If one is in
  // flight already it says so in the log, and that is all.
  void Start(const std::vector<LentListener>& listeners, net::Instant now);
  // To be called when fd() is readable or deadline() has come. True, once, when
  // the new program has taken over.
  bool Step(net::Instant now);
  // Records that the new program is the process `pid`.
  void Started(pid_t pid);
  // Records that the new program could not be started.
  void NotStarted(const absl::Status& why);
  // Accounts for the end of the new program.
  void Ended(const proc::ExitStatus& status, net::Instant now);
  // The listeners are closed here: whoever connects from now on is the other
  // program's. Says so, if there is one.
  void ListenersClosed();
  // This server stops, and with it a program that has not taken over yet: at
  // once, or, if it accepts already, as this one does. It stays a child until
  // then.
  void Abandon();

  // Returns whether there is no other program: none was started, or it has
  // ended.
  bool idle() const { return state_ == State::kIdle; }
  // Whether the other program accepts connections, and this one must not.
  bool other_accepts() const { return state_ >= State::kProving; }
  // Returns whether the other program has taken over.
  bool handed_over() const { return state_ >= State::kHandedOver; }
  // Returns a descriptor that is readable when Step() has something to do, -1
  // if there is none: what is polled is read. A program that is not known yet
  // may be ready already, which waits; one that reports too late is not heard.
  int fd() const { return AwaitsReadiness() ? ready_.fd() : -1; }
  net::Instant deadline() const { return deadline_; }
  uint64_t failures() const { return failures_; }

 private:
  enum class State { kIdle, kStarting, kEnding, kProving, kHandedOver, kOver };

  Upgrade(const Options& options, net::EventFd ready, ServiceManager* manager,
          Generations* generations, EventLog* log);
  // Returns whether the new program is known by its pid, and not ready yet.
  bool AwaitsReadiness() const {
    return state_ == State::kStarting && pid_ != 0;
  }
  void TakeReadiness(net::Instant now);
  bool TryHandOver(net::Instant now);
  // Notes why the new program is told to end.
  void EndBecause(absl::Status why);
  void Fail(const absl::Status& why);

  const bool has_command_;
  const absl::Duration timeout_;
  ServiceManager* const manager_;
  Generations* const generations_;
  EventLog* const log_;
  // The new program inherits it, and notifies when it is ready.
  const proc::Private<net::EventFd> ready_;
  State state_ = State::kIdle;
  // The new program; 0 if there is none, or if it is not known yet.
  pid_t pid_ = 0;
  net::Instant deadline_ = net::Never();
  // Why a program was told to end, until it has.
  absl::Status why_ended_;
  uint64_t failures_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_UPGRADE_H_

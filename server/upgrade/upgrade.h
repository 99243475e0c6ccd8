// Upgrade: lets a program that is started anew take over from this one, without
// a lost connection.
//
// The program is started from the same path, with the same arguments, as a
// child; what has been installed at the path meanwhile is what runs. It gets
// the very same listening descriptors (handshake.h tells it which), so clients
// wait in the same queue whoever accepts from it. This program serves on until
// the new one says that it is ready, then stops accepting, and drains once that
// one has lived for kProof. However the new program fails before, whether it is
// missing, ends, hangs or crashes at once, this one serves on.
//
//   kIdle ──Start──▶ kStarting ──"ready"──▶ kProving ──kProof──▶ kHandedOver
//     ▲                  │                     │
//     └── it has ended ──┴── or was killed ────┘
//
// Lives in the parent; belongs to the supervisor. The reaper owns the new
// program while it is a child to be reaped, under the tag kProgram, and disowns
// it when it has taken over. One at a time is in flight.
//
// Errors: Create() names the call. Everything else that can fail is an upgrade
// that failed: logged with its reason, and counted.
//
// Example:
//   auto upgrade = Upgrade::Create(options, manager, &reaper, &log);
//   (*upgrade)->Start(listeners, now);
//   ... poll (*upgrade)->fd() until (*upgrade)->deadline() ...
//   if ((*upgrade)->Step(now)) Drain();  // the other one serves

#ifndef BROOD_SERVER_UPGRADE_UPGRADE_H_
#define BROOD_SERVER_UPGRADE_UPGRADE_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/event_fd.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/program.h"
#include "brood/proc/reaper.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/listening/lent_listener.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"

namespace brood::server {

class Upgrade {
 public:
  // How long a new program must live after it said that it is ready.
  static constexpr absl::Duration kProof = absl::Milliseconds(200);

  // Starts a new program; tests may have their own way.
  using StartFunction =
      std::function<absl::StatusOr<proc::Child>(const proc::Program& program)>;

  // By options.upgrade and notify_socket. Without a
  // command, every request is refused. `manager`, `reaper` and `log` outlive
  // this object.
  static absl::StatusOr<std::unique_ptr<Upgrade>> Create(
      const Options& options, ServiceManager* manager, proc::Reaper* reaper,
      EventLog* log, StartFunction start = proc::StartProgram);

  // Starts the program with `listeners`, which stay the caller's. If one is in
  // flight already it says so in the log, and that is all.
  void Start(const std::vector<LentListener>& listeners, net::Instant now);
  // To be called when fd() is readable or deadline() has come. True, once, when
  // the new program has taken over.
  bool Step(net::Instant now);
  // Accounts for the end of the new program, which the reaper returned.
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
  int fd() const { return ready_.fd(); }
  net::Instant deadline() const { return deadline_; }
  uint64_t failures() const { return failures_; }

 private:
  enum class State { kIdle, kStarting, kEnding, kProving, kHandedOver, kOver };

  Upgrade(const Options& options, net::EventFd ready, ServiceManager* manager,
          proc::Reaper* reaper, EventLog* log, StartFunction start);
  proc::Program ProgramWith(const std::vector<LentListener>& listeners) const;
  void TakeReadiness(net::Instant now);
  bool TryHandOver(net::Instant now);
  void End(int signal, absl::Status why);
  void Fail(const absl::Status& why);

  const std::vector<std::string> command_;
  const absl::Duration timeout_;
  const std::string notify_socket_;
  ServiceManager* const manager_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const StartFunction start_;
  // The new program inherits it, and notifies when it is ready.
  const proc::Private<net::EventFd> ready_;
  State state_ = State::kIdle;
  pid_t pid_ = 0;
  net::Instant deadline_ = net::Never();
  // Why a program was told to end, until it has.
  absl::Status why_ended_;
  uint64_t failures_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_UPGRADE_H_

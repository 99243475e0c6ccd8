// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_GENERATIONS_H_
#define BROOD_SERVER_UPGRADE_GENERATIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/program.h"
#include "brood/server/control/requests.h"
#include "brood/server/upgrade/handshake.h"

namespace brood::server {

// Generations are the programs that a server consists of, one after the other,
// since upgrades replace one by the next. This interface starts and reaps them,
// passes requests to the right one, and decides when the server as a whole has
// ended. There is one implementation for each place that this program can have:
//
//   MainProcess         it was started first, and stays until the last
//                       generation has ended (main_process.h)
//   LinkedGeneration    a main process has started it (linked_generation.h)
//   ManagedGenerations  a service manager is notified which process is the main
//                       one, so the old one exits (managed_generations.h)
//
// The candidate is the program that this one has started, or asked the main
// process to start, and that has not taken over yet. There is one at a time.
//
// Process: the parent, in the thread of the supervisor, which owns it. No call
// blocks. Errors: Start() names the call. Other failures are logged, or
// reported by Attend().
class Generations {
 public:
  // Starts a program; a test may pass another function.
  using StartFunction =
      std::function<absl::StatusOr<proc::Child>(const proc::Program& program)>;

  // The most generations that may still have connections when an upgrade is
  // requested. The main process is not counted.
  static constexpr int kMostOld = 8;

  // How long generations may take to end when the grace is over.
  static constexpr absl::Duration kLastDelay = absl::Seconds(1);

  // Messages is what other processes of the server have reported since the last
  // call, and what they request of this one.
  struct Messages {
    // Counts the requests to stop this program.
    int stops = 0;
    // Reports whether an upgrade of this program was requested.
    bool upgrade = false;
    // Identifies the candidate, which was started.
    absl::optional<pid_t> started;
    // Holds why the candidate could not be started.
    absl::Status not_started;
    // Holds how the candidate has ended.
    absl::optional<proc::ExitStatus> ended;
    // Reports that the main process has ended, so this program is on its own.
    bool main_process_ended = false;

    // Returns whether there is any message.
    bool Any() const {
      return stops > 0 || upgrade || started || !not_started.ok() || ended ||
             main_process_ended;
    }
  };

  // Role is what a program that has ended was.
  enum class Role {
    kCandidate,
    kNewest,  // the service has ended with it
    kOld,
  };

  virtual ~Generations() = default;

  // Returns why an upgrade is refused when there are kMostOld old generations.
  static std::string TooManyOld() {
    return absl::StrCat(kMostOld, " earlier programs still have connections");
  }

  // Starts the candidate with the descriptors and the variable of `offer`.
  // Returns its pid, or 0 if a later Attend() reports the pid.
  virtual absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) = 0;
  // Kills the candidate `pid`.
  virtual void Kill(pid_t pid) = 0;
  // Requests that the candidate `pid` stops, because this program was requested
  // to.
  virtual void StopCandidate(pid_t pid) = 0;
  // Records that the candidate `pid` has taken over. Returns its status if it
  // has ended already, and so has not taken over.
  virtual absl::optional<proc::ExitStatus> HandOver(pid_t pid) = 0;

  // Passes the requests `asked` of this process to the program that they are
  // for. Returns the requests that this process must fulfil itself.
  virtual Requests::Taken Route(Requests::Taken asked) = 0;
  // Returns a descriptor that is readable when Attend() has something to do, or
  // -1 if it never has.
  virtual int fd() const = 0;
  // Receives the messages of other programs, and returns what they mean for
  // this one.
  virtual Messages Attend() = 0;

  // Requests that every other generation stops.
  virtual void StopAll() = 0;
  // Kills the generations that have not stopped. Called repeatedly after the
  // grace; a generation has kLastDelay to kill its own children first.
  virtual void KillAll(net::Instant now) = 0;
  // Records the end of a program that the reaper returned. Returns what the
  // program was.
  virtual Role Ended(pid_t pid, const proc::ExitStatus& status) = 0;

  // Returns how many generations this program waits for when it stops, besides
  // those that are its children.
  virtual size_t awaited() const = 0;

  // Returns how the last generation that served in place of this program has
  // ended; nothing if this program or another one still serves.
  virtual absl::optional<proc::ExitStatus> last_status() const = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_GENERATIONS_H_

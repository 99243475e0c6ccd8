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
// since upgrades replace one by the next: who starts and reaps them, which of
// them a request is for, and when the server as a whole has ended.
//
// There are three implementations, one for each place that this program can
// have:
//   MainProcess         it was started first, and stays until the last
//                       generation has ended (main_process.h)
//   LinkedGeneration    a main process has started it (linked_generation.h)
//   ManagedGenerations  a service manager is told which process the main one
//                       is, so the old one leaves (managed_generations.h)
//
// The candidate is the program that this one has started, or asked for, and
// that has not taken over yet. There is one at a time.
//
// Process: the parent, in the thread of the supervisor, which owns it. No call
// blocks.
//
// Errors: Start() names the call. Other failures are logged or reported by
// Attend().
//
// Example:
//   absl::StatusOr<pid_t> pid = generations->Start(offer);
//   ...
//   const Generations::Messages messages = generations->Attend();
//   for (int i = 0; i < messages.stops; ++i) Stop();
class Generations {
 public:
  // Starts a program; tests may have their own way.
  using StartFunction =
      std::function<absl::StatusOr<proc::Child>(const proc::Program& program)>;

  // The most generations that may still have connections when the next one is
  // asked for. The main process is not counted.
  static constexpr int kMostOld = 8;

  // How long generations may take to end when the grace is over.
  static constexpr absl::Duration kLastDelay = absl::Seconds(1);

  // What other processes of the server have reported since the last call, and
  // what they ask of this one.
  struct Messages {
    // Says how often this program is to stop.
    int stops = 0;
    // Says whether this program is to be upgraded.
    bool upgrade = false;
    // Identifies the candidate, which was started.
    absl::optional<pid_t> started;
    // Says why the candidate could not be started.
    absl::Status not_started;
    // Says how the candidate has ended.
    absl::optional<proc::ExitStatus> ended;
    // Says that the main process has ended, and this program is on its own.
    bool main_process_ended = false;

    // Returns whether there is anything.
    bool Any() const {
      return stops > 0 || upgrade || started || !not_started.ok() || ended ||
             main_process_ended;
    }
  };

  // What a program was that has ended.
  enum class Role {
    kCandidate,
    kNewest,  // the service has ended with it
    kOld,
  };

  virtual ~Generations() = default;

  // Returns why an upgrade is refused when there are kMostOld.
  static std::string TooManyOld() {
    return absl::StrCat(kMostOld, " earlier programs still have connections");
  }

  // Starts the candidate with what `offer` has. Returns its pid, or 0 if a
  // later Attend() will.
  virtual absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) = 0;
  // Kills the candidate `pid`.
  virtual void Kill(pid_t pid) = 0;
  // Asks the candidate `pid` to stop, because this program was asked to.
  virtual void StopCandidate(pid_t pid) = 0;
  // Records that the candidate `pid` has taken over. Returns its status if it
  // has ended already, and has not.
  virtual absl::optional<proc::ExitStatus> HandOver(pid_t pid) = 0;

  // Passes requests that were made of this process to the program that they
  // are for. Returns those that this one is to do itself.
  virtual Requests::Taken Route(Requests::Taken asked) = 0;
  // Returns a descriptor that is readable when Attend() has something to do,
  // -1 if it never has.
  virtual int fd() const = 0;
  // Takes the messages of other programs.
  virtual Messages Attend() = 0;

  // Asks every other generation to stop.
  virtual void StopAll() = 0;
  // Kills what has not stopped. Called again and again after the grace; a
  // generation has kLastDelay to kill its own children first.
  virtual void KillAll(net::Instant now) = 0;
  // Accounts for the end of a program that the reaper returned.
  virtual Role Ended(pid_t pid, const proc::ExitStatus& status) = 0;

  // Returns how many generations this program waits for when it stops, besides
  // those that the reaper has.
  virtual size_t awaited() const = 0;

  // Returns how the last generation has ended that served in place of this
  // program; nothing if this one serves, or another one still does.
  virtual absl::optional<proc::ExitStatus> last_status() const = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_GENERATIONS_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_PROGRAM_LAUNCHER_H_
#define BROOD_SERVER_STRATEGY_PROGRAM_LAUNCHER_H_

#include <sys/types.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/proc/launch/launcher.h"
#include "brood/proc/spawn.h"
#include "brood/server/options.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

// ProgramLauncher executes the program of a server for a connection without a
// fork, where that makes no difference to the program; see proc::Launcher.
//
// Process: supervisor. A launched process runs no code of the embedder and
// writes no report and no line in the log, so the launcher does nothing for a
// server whose children must do that; see For(). Errors: those of
// proc::Launcher. If the program cannot be executed, ChildEnded() logs why.
//
// Example:
//   auto child = launcher.Launch(connection);
//   if (!child) child = spawner.Spawn(body);
class ProgramLauncher {
 public:
  // Returns the launcher of a server, which launches nothing if its children
  // must fork: the handler is a function, Options::prepare_child is set,
  // children have a standard error or an oom_score_adj of their own, handlers
  // report, or the variables of the program contain its pid.
  static ProgramLauncher For(const Options& options,
                             const StrategyEnvironment& environment);

  // Launches nothing.
  ProgramLauncher() = default;

  // Returns whether programs are executed without a fork, as far as the kernel
  // allows.
  bool launches() const { return launcher_ != nullptr; }

  // Records the state of this process; see Strategy::Prepare().
  void Prepare();
  // Executes the program for `connection`, of which this process keeps its
  // copy. Returns nothing if a child must be forked.
  absl::optional<absl::StatusOr<proc::SpawnedChild>> Launch(
      const net::Connection& connection);
  // Logs why the child `pid` of the connection in `slot` could not execute the
  // program. To be called for each child that has ended, before the events are
  // told.
  void ChildEnded(Slot slot, pid_t pid, Strategy::Events& events);

 private:
  std::unique_ptr<proc::Launcher> launcher_;  // null if nothing is launched
  const ExecutedProgram* program_ = nullptr;
  EventLog* log_ = nullptr;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_PROGRAM_LAUNCHER_H_

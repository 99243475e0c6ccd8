// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_
#define BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/strategy/program_launcher.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

// ForkPerConnection forks once for each connection, after accept.
//
// The oldest pattern, the default, and the reference for the other strategies.
// Isolation is complete: what a child does to itself affects no other
// connection. A child starts with its connection, so no handoff queue is
// needed. If the handler is a program, it is executed without a fork where that
// makes no difference; see ProgramLauncher.
//
// Process: supervisor, which must be single-threaded. Tags: kConnection.
// Errors: those of proc::Spawner::Spawn. If the process has threads, the error
// names the strategy that works.
//
// Example:
//   ForkPerConnection strategy(&spawner, &reaper, &program);
//   strategy.Dispatch(slot, std::move(connection), now, events);
class ForkPerConnection : public Strategy {
 public:
  // Makes the strategy. All arguments but `launcher` outlive it.
  ForkPerConnection(proc::Spawner* spawner, proc::Reaper* reaper,
                    const ChildProgram* program, ProgramLauncher launcher = {})
      : spawner_(spawner),
        reaper_(reaper),
        program_(program),
        launcher_(std::move(launcher)) {}

  absl::StatusOr<Rehearsal> RehearseToServe() override;
  absl::Status Prepare() override;
  void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                Events& events) override;
  void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                  net::Instant now, Events& events) override;

 private:
  // Creates a child that serves `connection` and reports to the page of `slot`.
  // Returns in the parent only, whose copy of the connection stays open.
  // Errors: those of Spawner::Spawn and of ProgramLauncher::Launch.
  absl::StatusOr<proc::SpawnedChild> ForkAndHandle(Slot slot,
                                                   net::Connection& connection);

  proc::Spawner* const spawner_;
  proc::Reaper* const reaper_;
  const ChildProgram* const program_;
  ProgramLauncher launcher_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_

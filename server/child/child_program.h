// ChildProgram: what children of this server do, however they are made.
//
// Put together in the parent from the embedder's options; runs in the child. A
// process that serves one connection and one that serves many do the same two
// things:
//   Begin()   once, in a process that was just made: the embedder's own first
//             step (a PRNG is seeded anew, privileges are dropped), and after it
//             what makes the process die with the server, if it shall
//   Serve()   for each connection: says so in the log, and HandleConnection()
//
// Errors: Begin() gives the exit code with which the process must end at once.
//
// Example:
//   spawner.Spawn([&] { return program.BeginAndServe(connection); });

#ifndef BROOD_SERVER_CHILD_CHILD_PROGRAM_H_
#define BROOD_SERVER_CHILD_CHILD_PROGRAM_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"

namespace brood::server {

class ChildProgram {
 public:
  // In the server's process. `prepare` may be empty; `log` outlives the
  // program.
  ChildProgram(Handler handler, size_t max_size,
               std::function<absl::Status()> prepare, EventLog* log,
               OnParentDeath on_parent_death = OnParentDeath::kFinish);

  absl::optional<int> Begin() const;
  int Serve(net::Connection& connection) const;
  // The whole life of a child with one connection: gives its exit code.
  int BeginAndServe(net::Connection& connection) const;

 private:
  absl::Status Prepare() const;
  absl::Status ShareFate() const;

  const Handler handler_;
  const size_t max_size_;
  const std::function<absl::Status()> prepare_;
  EventLog* const log_;
  const pid_t die_with_;  // 0 for nobody
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_CHILD_PROGRAM_H_

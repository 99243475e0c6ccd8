// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_KIND_H_
#define BROOD_SERVER_STRATEGY_KIND_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::server {

// StrategyKind is the way in which connections get their processes.
//
// All but kZygote need a process that has no threads while the server runs; see
// TcpServer.
//
// Example:
//   absl::StatusOr<StrategyKind> kind = ParseStrategyKind("spares");
//   if (!kind.ok()) return kind.status();
//   options.strategy = *kind;
enum class StrategyKind {
  // Forks a process for each connection, after accept.
  kFork,
  // Forks a process for each connection before the connection comes: the
  // isolation of kFork, without the cost of the fork in the client's latency.
  kSpares,
  // Reuses processes: the fastest kind. The process of a connection may have
  // served others before.
  kPool,
  // Forks a process for each connection from a small process that Create()
  // makes: for programs with threads or much memory.
  kZygote,
  // Acts as kZygote if the process has threads, or more memory than
  // Options::kLargestToFork, when it begins to serve; otherwise as kFork.
  kAuto,
};

// Returns "fork", "spares", "pool", "zygote" or "auto"; an empty text for a
// value that is none of the enumerators.
absl::string_view NameOf(StrategyKind kind);

// Returns the kind whose name is exactly `text`. Returns InvalidArgument, with
// the names that are allowed, if there is none.
absl::StatusOr<StrategyKind> ParseStrategyKind(absl::string_view text);

// Returns every kind, in the order of the enumerators.
std::vector<StrategyKind> AllStrategyKinds();

// HardeningOptions limit the harm that an attacked or compromised child can do
// to its siblings and to the server.
//
// A value; see Options::hardening. Each field has a cost for a child;
// docs/decisions/hardening.md has the measurements. If the machine refuses an
// option, the log has one warning.
struct HardeningOptions {
  // Gives each child a stack canary of its own, so that an attacker cannot
  // guess it byte by byte in one child after the other. 1 us. On x86-64 only.
  //
  // Turn it off if a handler returns into functions that the process of the
  // server has entered, for example by resuming a coroutine of the parent.
  //
  // Default: true.
  bool stack_canary = true;

  // Lets processes of the same user read the memory of children, trace them and
  // copy their descriptors, and lets the kernel write core files of them
  // (PR_SET_DUMPABLE). Programs that a child executes can be read in any case.
  // The process of the server itself is closed by PrepareProcess().
  //
  // If false, a child that does not run as root can neither read
  // /proc/self/environ nor write /proc/self/oom_score_adj or, for a user
  // namespace, uid_map. 1 us.
  //
  // Default: false.
  bool dumpable = false;

  // Sets how much more willingly than the server the kernel kills a child when
  // memory runs out (oom_score_adj). The number is added to that of the server,
  // or to 0 if that is negative, once for each spare, worker and zygote. With
  // zero, children have the number of the server.
  //
  // Has no effect in a process that is closed to others and does not run as
  // root.
  //
  // Default: 500. Range: 0 to 1000.
  int oom_score_adj = 500;

  // Applies oom_score_adj with the strategies kFork and kAuto as well, to each
  // child that the server forks for a connection. 22 us.
  //
  // Default: false.
  bool oom_score_with_fork = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_KIND_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_KIND_H_
#define BROOD_SERVER_STRATEGY_KIND_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::server {

// StrategyKind names the way in which connections get their processes.
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

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_KIND_H_

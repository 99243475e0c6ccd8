// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_TOTALS_H_
#define BROOD_SERVER_TOTALS_H_

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace brood::server {

// KillReason is why the supervisor told a child to end: the server stops, or
// one of the deadlines (Options) has passed.
enum class KillReason { kStop, kFirstByte, kIdle, kPeer, kConnection };
// The number of reasons.
inline constexpr size_t kKillReasons = 5;

// Totals are the numbers of connections by outcome, as TcpServer::totals()
// returns them.
//
// A value of the parent. At any time
//
//   accepted = running + ended_ok + ended_error + crashed + killed + unknown
//            + shed + fork_failed
//
// Example:
//   const Totals& totals = server.totals();
//   const uint64_t crashes = totals.crashed_by[SIGSEGV];
//   const uint64_t idle =
//       totals.killed_for[static_cast<size_t>(KillReason::kIdle)];
struct Totals {
  uint64_t accepted = 0;
  uint64_t running = 0;
  uint64_t ended_ok = 0;     // exited with 0
  uint64_t ended_error = 0;  // exited with another code
  uint64_t crashed = 0;      // ended by a signal that was not ours
  uint64_t killed = 0;       // ended by a signal that the supervisor sent
  uint64_t unknown = 0;      // other code waited for the child
  uint64_t shed = 0;         // closed because the server terminated
  uint64_t fork_failed = 0;  // no process could be created
  // Clients that had connected and were not accepted before the grace ended.
  // They are not among `accepted`.
  uint64_t left_in_queue = 0;
  // The parts of `crashed`, by signal number.
  std::array<uint64_t, NSIG> crashed_by = {};
  // The parts of `killed`, by KillReason.
  std::array<uint64_t, kKillReasons> killed_for = {};

  // Returns whether the equation above holds.
  bool Balanced() const {
    return accepted == running + ended_ok + ended_error + crashed + killed +
                           unknown + shed + fork_failed;
  }
};

}  // namespace brood::server

#endif  // BROOD_SERVER_TOTALS_H_

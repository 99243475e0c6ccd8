// SPDX-License-Identifier: Apache-2.0

// The lives of a server in which its system calls are made to fail.
//
// Each is short, ends by itself or when it is told to, and runs sites that the
// others do not. To reach a new site: add a line to an option of one that is
// there, or a Scenario of its own to Scenarios().
//
// Those in which others have a part, who hand over sockets, are told of what
// happens, or take over, are in syscall_hand_overs.cc.
//
// Lives in the test process. Errors: none; what cannot be set up throws.
//
// Example:
//   const ShortDir dir;
//   for (const Scenario& scenario : Scenarios(dir)) {
//     TestServer::Setup setup;
//     const Kept kept = scenario.prepare(setup);
//     ...

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_SCENARIOS_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_SCENARIOS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "brood/net/socket.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/syscalls/syscall_table.h"
#include "brood/testing/test_server.h"

namespace brood::testing {

// What there must be until the server has ended.
struct Kept {
  std::vector<net::Socket> sockets;
  // Until it has started: they are handed to it.
  std::vector<net::Socket> lent;
};

struct Scenario {
  struct Failure {
    std::string site;
    int error;
    int64_t count = SyscallTable::kForGood;
  };

  std::string name;
  // Sets up one server.
  std::function<Kept(TestServer::Setup&)> prepare;
  // Sites that fail in any case, so that what is done instead is run.
  std::vector<Failure> always_fail;
  // There is no server: Create() fails.
  bool refused = false;
  // One client stays when the server is told to stop.
  bool client_stays = false;
  // One client says nothing until the server loses its patience.
  bool client_dawdles = false;
  // The zygote is killed after the first clients.
  bool kills_zygote = false;
  // It is asked to upgrade before it is told to stop.
  bool upgrades = false;
};

// Their unix sockets are in `dir`, which must be there as long as they. (Always
// in the same one: a program knows the names of a bounded number.)
std::vector<Scenario> Scenarios(const ShortDir& dir);
// Some of them, for Scenarios().
std::vector<Scenario> HandOverScenarios(const ShortDir& dir);

// A scenario that is but for its options as every other.
Scenario With(const std::string& name,
              const std::function<void(TestServer::Setup&)>& change);
// `sockets` under the numbers from 3 on, as a program finds them that others
// have started. For Kept::lent.
std::vector<net::Socket> FromThreeOn(std::vector<net::Socket> sockets);
// The server in an embedder's own loop, who takes SIGTERM and SIGUSR2 himself.
absl::Status RunInOwnLoop(server::TcpServer& server);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_SCENARIOS_H_

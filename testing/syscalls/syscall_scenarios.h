// SPDX-License-Identifier: Apache-2.0

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

// Kept holds the sockets that a scenario needs.
struct Kept {
  // The sockets that must be open until the server has ended.
  std::vector<net::Socket> sockets;
  // The sockets that must be open until the server has started, which inherits
  // them.
  std::vector<net::Socket> lent;
};

// Scenario is a short run of a server in which its system calls are made to
// fail. It ends by itself or by SIGTERM.
//
// Each scenario runs sites that the others do not. To reach a new site, extend
// the options of a scenario, or add one to Scenarios(). The scenarios with
// another program (which passes sockets, gets notifications, or takes over) are
// in syscall_handoffs.cc.
//
// A value of the test process. Errors: a failed preparation throws.
//
// Example:
//   const ShortDir dir;
//   for (const Scenario& scenario : Scenarios(dir)) {
//     TestServer::Setup setup;
//     const Kept kept = scenario.prepare(setup);
//     ...
struct Scenario {
  // Failure is a site that fails, and how.
  struct Failure {
    // The name of the site.
    std::string site;
    // The error, an errno.
    int error;
    // How many calls fail, from the first one on.
    int64_t count = SyscallTable::kForGood;
  };

  // The name, for the message of a failed test.
  std::string name;
  // Sets up one server.
  std::function<Kept(TestServer::Setup&)> prepare;
  // The sites that always fail, so that the fallbacks are run.
  std::vector<Failure> always_fail;
  // Whether Create() fails, so that there is no server.
  bool refused = false;
  // Whether one client stays connected when the server gets SIGTERM.
  bool client_stays = false;
  // Whether one client sends nothing until a deadline of the server ends it.
  bool client_stalls = false;
  // Whether the zygote is killed after the first clients.
  bool kills_zygote = false;
  // Whether an upgrade is requested before the stop.
  bool upgrades = false;
};

// Returns all scenarios. Their unix sockets are in `dir`, which must live as
// long as they do.
std::vector<Scenario> Scenarios(const ShortDir& dir);
// Returns the scenarios with another program, which are a part of Scenarios().
std::vector<Scenario> HandoffScenarios(const ShortDir& dir);

// Returns the default scenario with options that `change` sets.
Scenario With(const std::string& name,
              const std::function<void(TestServer::Setup&)>& change);
// Returns `sockets` with the numbers from 3 on, as a program inherits them. For
// Kept::lent.
std::vector<net::Socket> FromThreeOn(std::vector<net::Socket> sockets);
// Runs the server in a loop of the embedder, which handles SIGTERM and SIGUSR2.
absl::Status RunInOwnLoop(server::TcpServer& server);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_SCENARIOS_H_

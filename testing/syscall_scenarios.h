// The lives of a server in which its system calls are made to fail.
//
// Each is short, ends by itself or when it is told to, and runs sites that the
// others do not. To reach a new site: add a line to an option of one that is
// there, or a Scenario of its own to Scenarios().
//
// Lives in the test process. Errors: none; what cannot be set up throws.
//
// Example:
//   for (const Scenario& scenario : Scenarios()) {
//     TestServer::Setup setup;
//     const auto kept = scenario.prepare(setup);
//     ...

#ifndef BROOD_TESTING_SYSCALL_SCENARIOS_H_
#define BROOD_TESTING_SYSCALL_SCENARIOS_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "brood/net/socket.h"
#include "brood/testing/test_server.h"

namespace brood::testing {

struct Scenario {
  std::string name;
  // Sets up one server. What it gives is kept until that has ended.
  std::function<std::vector<net::Socket>(TestServer::Setup&)> prepare;
  // Sites that fail in any case, so that what is done instead is run.
  std::vector<std::pair<std::string, int>> always_fail;
  // There is no server: Create() fails.
  bool refused = false;
  // One client stays when the server is told to stop.
  bool client_stays = false;
  // One client says nothing until the server loses its patience.
  bool client_dawdles = false;
  // The zygote is killed after the first clients.
  bool kills_zygote = false;
};

const std::vector<Scenario>& Scenarios();

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALL_SCENARIOS_H_

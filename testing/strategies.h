// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_STRATEGIES_H_
#define BROOD_TESTING_STRATEGIES_H_

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/server/options.h"
#include "brood/server/strategy_kind.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/test_server.h"
#include "gtest/gtest.h"

namespace brood::testing {

// StrategyRow is a strategy, and what it does otherwise than others.
//
// A claim about a whole server is a promise of the server, whichever way its
// processes are created. So a test states it once, and is run for every row. If
// the claim depends on what a strategy does, the test asks for a field of the
// row, never for its name. A new strategy is a new row in strategies.cc.
struct StrategyRow {
  // The strategy.
  server::StrategyKind strategy;
  // Whether the process of a connection serves no other connection, before or
  // after, and ends with it.
  bool one_each;
  // Whether the process of a connection is created when the connection has been
  // accepted, not ahead.
  bool made_after_accept;
  // Whether the server process, which must then have no threads, forks the
  // processes of connections. If not, a process that Create() made forks them.
  bool forks_itself;
  // Whether a server process that has threads when it begins to serve is
  // refused.
  bool refuses_threads;
  // Returns how many processes wait, beside those that serve `busy`
  // connections, when no client has connected for some seconds.
  size_t (*waiting)(const server::Options& options, size_t busy);
  // Returns how many processes wait at most, at any time.
  size_t (*most_waiting)(const server::Options& options);
  // How many descriptors a process has beside its connection and those of the
  // embedder.
  size_t own_descriptors;
  // How many lines the log has about the processes of the strategy itself, if
  // none of them fails.
  size_t own_lines;

  // Returns the name of the strategy, as --strategy has it.
  std::string name() const { return std::string(server::NameOf(strategy)); }
};

// Returns all rows.
const std::vector<StrategyRow>& Strategies();
// Prints the name, in failures and where GoogleTest lists parameters.
std::ostream& operator<<(std::ostream& stream, const StrategyRow& row);

// Returns the rows, for INSTANTIATE_TEST_SUITE_P.
inline auto EachStrategy() { return ::testing::ValuesIn(Strategies()); }
// Returns what names the tests of a row, for INSTANTIATE_TEST_SUITE_P.
inline auto StrategyName() {
  return [](const auto& info) { return info.param.name(); };
}

// StrategyTest is the fixture of the tests that are run for every strategy.
//
// Lives in the test process. For tests of an embedder's handler too.
//
// Example:
//   class GreetingTest : public StrategyTest {};
//   TEST_P(GreetingTest, GreetsEachClient) {
//     TestServer::Setup setup;
//     setup.handler = Greet;
//     auto server = StartServer(std::move(setup));
//     EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("hello\n"));
//     StopAndExpectClean(*server);
//   }
//   INSTANTIATE_TEST_SUITE_P(With, GreetingTest, EachStrategy(),
//                            StrategyName());
class StrategyTest : public ServerTest,
                     public ::testing::WithParamInterface<StrategyRow> {
 protected:
  // Returns the row of this test.
  static const StrategyRow& row() { return GetParam(); }

  // Does the same as ServerTest::StartServer(), with the strategy of the row.
  std::unique_ptr<TestServer> StartServer(
      TestServer::Setup setup = TestServer::Setup());

  // Returns how many children a server at rest has, if `busy` of them serve.
  static size_t ChildrenAtRest(const TestServer& server, size_t busy = 0);
  // Waits until the server has ChildrenAtRest() children, no zombie and nothing
  // to do. Fails the test if that does not happen.
  static void ExpectRest(const TestServer& server, size_t busy = 0);
  // Waits until the server has no zombie and no more children than may wait
  // (row().most_waiting), and returns how long that took.
  static absl::Duration TimeToReap(const TestServer& server);
  // Waits for the next `count` events "forked" or "assigned", which name the
  // process of a connection, and returns the pids of these processes.
  static std::vector<pid_t> AwaitServing(TestServer& server, int count);
  // Returns the events "forked" and "assigned" of `log`, in their order.
  static std::vector<LoggedEvent> ServingEvents(absl::string_view log);
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_STRATEGIES_H_

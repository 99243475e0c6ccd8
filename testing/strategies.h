// SPDX-License-Identifier: Apache-2.0

// Strategies: one row for each strategy, and the fixture of the tests that are
// run for every row.
//
// A whole-server claim is a promise of the server, whichever way its processes
// are made. So it is stated once, as a TEST_P of a suite derived from
// StrategyTest, and each row gives a test. What a strategy by its nature does
// otherwise is a trait in its row: a claim asks for the trait, never for the
// name. A new strategy is a new row in strategies.cc.
//
// For the tests of an embedder's handler too. Lives in the test process.
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

struct StrategyRow {
  server::StrategyKind strategy;
  // A connection's process serves no other before or after, and ends with it.
  bool one_each;
  // That process is made when the connection has come, not ahead.
  bool made_after_accept;
  // The server process makes it itself, so it must have no threads; if not, a
  // process that it made when it was created does.
  bool forks_itself;
  // Whether one that has threads when it begins to serve is refused.
  bool refuses_threads;
  // How many processes wait, beside those that serve a connection, if `busy`
  // are served and nobody came for some seconds; and how many may meanwhile.
  size_t (*waiting)(const server::Options& options, size_t busy);
  size_t (*most_waiting)(const server::Options& options);
  // Descriptors that a process has beside its connection and the embedder's.
  size_t own_descriptors;
  // Lines of the log about the strategy's own processes, in a quiet life.
  size_t own_lines;

  // Returns the name of the strategy, as --strategy has it.
  std::string name() const { return std::string(server::NameOf(strategy)); }
};

const std::vector<StrategyRow>& Strategies();
// In failures, and where GoogleTest lists parameters.
std::ostream& operator<<(std::ostream& stream, const StrategyRow& row);

// What INSTANTIATE_TEST_SUITE_P needs.
inline auto EachStrategy() { return ::testing::ValuesIn(Strategies()); }
inline auto StrategyName() {
  return [](const auto& info) { return info.param.name(); };
}

class StrategyTest : public ServerTest,
                     public ::testing::WithParamInterface<StrategyRow> {
 protected:
  static const StrategyRow& row() { return GetParam(); }

  // ServerTest's, with the strategy of the row.
  std::unique_ptr<TestServer> StartServer(
      TestServer::Setup setup = TestServer::Setup());

  // How many children a server at rest has, of which `busy` serve.
  static size_t ChildrenAtRest(const TestServer& server, size_t busy = 0);
  // Expects that it comes to that, with nobody left to be reaped and nothing
  // left to be done.
  static void ExpectRest(const TestServer& server, size_t busy = 0);
  // How long until everybody is reaped who ended, and nobody serves: no more
  // are left than may wait.
  static absl::Duration TimeToBury(const TestServer& server);
  // Waits for the next `count` events that name the process of a connection,
  // "forked" or "assigned", and returns these processes.
  static std::vector<pid_t> AwaitServing(TestServer& server, int count);
  // Returns such events of `log`, in their order.
  static std::vector<LoggedEvent> ServingEvents(absl::string_view log);
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_STRATEGIES_H_

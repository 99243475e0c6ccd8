// SPDX-License-Identifier: Apache-2.0
//
// Handlers that ask to be traced by the parent, as code that prevents debugging
// does. The wait of the parent reports each of their stops, and must not take a
// stop for an end.

#include <sys/ptrace.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

void AskToBeTraced() { ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }

// Does what the first byte of the client asks for.
ExitCode DoAsAsked(net::Connection& connection) {
  char asked = 0;
  if (!net::ReadFull(connection.socket(), absl::MakeSpan(&asked, 1)).ok()) {
    return ExitCode::kServed;
  }
  if (asked != 'q') AskToBeTraced();
  switch (asked) {
    case 't':  // a trap
      raise(SIGTRAP);
      break;
    case 'u':  // a signal that is ignored
      std::signal(SIGUSR1, SIG_IGN);
      raise(SIGUSR1);
      break;
    case 'e':  // another program
      dup2(connection.fd(), STDOUT_FILENO);
      execl("/bin/sh", "sh", "-c", "echo $$", nullptr);
      break;
    case 'c':  // a crash
      raise(SIGSEGV);
      break;
    case 'f':  // stops again and again
      std::signal(SIGUSR1, SIG_IGN);
      for (;;) {
        raise(SIGUSR1);
        AskToBeTraced();
      }
    default:
      break;
  }
  return Reply(connection, "done");
}

class TracedChildrenTest : public StrategyTest {
 protected:
  std::unique_ptr<TestServer> StartTraced(bool owns_all_children) {
    TestServer::Setup setup = QuietSetup(server::LogLevel::kInfo);
    setup.options.max_connections = 4;
    setup.options.spares.min = 2;
    setup.options.pool.workers = 4;
    setup.options.owns_all_children = owns_all_children;
    setup.handler = DoAsAsked;
    return StartServer(std::move(setup));
  }
  std::string Tell(const TestServer& server, absl::string_view what) {
    TestClient client = ConnectTo(server);
    EXPECT_THAT(client.Send(what), IsOk());
    const absl::StatusOr<std::string> reply = client.ReadUntilEof();
    return reply.ok() ? *reply : std::string();
  }
};

INSTANTIATE_TEST_SUITE_P(With, TracedChildrenTest, EachStrategy(),
                         StrategyName());

TEST_P(TracedChildrenTest, EndWithTheirOwnStatusesAndKeepNoSlot) {
  for (const bool owns_all_children : {false, true}) {
    SCOPED_TRACE(owns_all_children);
    const auto server = StartTraced(owns_all_children);
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round) {
      for (const char* harmless : {"t", "u", "n"}) {
        EXPECT_EQ(Tell(*server, harmless), "done") << harmless;
        EXPECT_EQ(Tell(*server, "q"), "done") << "another client";
      }
      EXPECT_NE(Tell(*server, "e"), "");
      EXPECT_EQ(Tell(*server, "c"), "");
      EXPECT_EQ(Tell(*server, "f"), "");
    }
    EXPECT_TRUE(Await([&] { return server->zombies().empty(); }));
    const TestServer::Report report = StopAndExpectClean(*server);
    const server::Totals& totals = report.totals;
    EXPECT_EQ(totals.accepted, kRounds * 9u);
    // An executed program ends with SIGCHLD. Its status would be lost if the
    // parent ignored SIGCHLD, which it does not.
    EXPECT_EQ(totals.ended_ok, kRounds * 7u);
    EXPECT_EQ(totals.crashed_by[SIGSEGV], uint64_t{kRounds});
    EXPECT_EQ(totals.crashed_by[SIGKILL], uint64_t{kRounds});
    EXPECT_EQ(totals.crashed, 2u * kRounds);
    EXPECT_EQ(totals.unknown, 0u);
  }
}

// While a child is stopped, other children keep their slots.
TEST_P(TracedChildrenTest, StopsOfManyAtOnceHarmNoOtherClient) {
  const auto server = StartTraced(/*owns_all_children=*/false);
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(ConnectTo(*server));
    EXPECT_THAT(clients.back().Send("t"), IsOk());
  }
  EXPECT_EQ(Tell(*server, "q"), "done");
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("done"));
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 4u);
}

}  // namespace
}  // namespace brood::testing

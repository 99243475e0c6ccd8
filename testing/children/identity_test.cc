// SPDX-License-Identifier: Apache-2.0
//
// Whichever strategy creates their processes, handlers run with the rights that
// the program has when it serves, not with those of a process that was created
// before.

#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

// Returns the rights of this process, as the kernel describes them.
std::string Rights() {
  std::string rights;
  for (const absl::string_view line :
       absl::StrSplit(ReadProcFile("/proc/self/status"), '\n')) {
    for (const char* field :
         {"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"}) {
      if (absl::StartsWith(line, field)) absl::StrAppend(&rights, line, "\n");
    }
  }
  return rights;
}

// Gives up the rights that a program gives up when it has opened its port. If
// the test runs without other users, sets only no_new_privs.
void GiveUpRights() {
  const bool is_other = setgroups(0, nullptr) == 0 &&
                        setresgid(kNobody, kNobody, kNobody) == 0 &&
                        setresuid(kNobody, kNobody, kNobody) == 0;
  EXPECT_TRUE(is_other || geteuid() != 0) << "root became no other user";
  EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
}

// A text that the server process writes and the test reads.
struct Text {
  std::array<char, 1024> bytes;
  std::atomic<bool> is_set;

  void Set(const std::string& text) {
    std::copy_n(text.c_str(), std::min(text.size() + 1, bytes.size() - 1),
                bytes.begin());
    is_set = true;
  }
};

server::ExitCode ReplyWithRights(net::Connection& connection) {
  return Reply(connection, Rights());
}

class IdentityTest : public StrategyTest {
 protected:
  void SetUp() override {
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
      GTEST_SKIP() << "the test has no rights to give up";
    }
  }

  static TestServer::Setup RightsSetup() {
    TestServer::Setup setup = QuietSetup();
    setup.options.spares.min = 2;
    setup.options.pool.workers = 2;
    setup.handler = ReplyWithRights;
    return setup;
  }

  Shared<Text> expected_;
};

INSTANTIATE_TEST_SUITE_P(With, IdentityTest, EachStrategy(), StrategyName());

// Create(), then fewer rights, then Run(): as in a program that needs root only
// for its port.
TEST_P(IdentityTest, IsThatOfTheProgramWhenItBeginsToServe) {
  TestServer::Setup setup = RightsSetup();
  setup.run = [this](server::TcpServer& server) {
    GiveUpRights();
    expected_->Set(Rights());
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 5; ++i) {
    const absl::StatusOr<std::string> rights =
        ConnectTo(*server).ReadUntilEof();
    EXPECT_THAT(rights, IsOkAndHolds(std::string(expected_->bytes.data())));
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 5u);
}

TEST_P(IdentityTest, IsThatOfTheProgramInEachStep) {
  TestServer::Setup setup = RightsSetup();
  setup.run = [this](server::TcpServer& server) {
    for (;;) {
      const absl::StatusOr<bool> goes_on = server.Step(absl::Milliseconds(100));
      if (!goes_on.ok() || !*goes_on) return goes_on.status();
      if (!expected_->is_set && server.totals().ended_ok == 1) {
        GiveUpRights();
        expected_->Set(Rights());
      }
    }
  };
  const auto server = StartServer(std::move(setup));
  const absl::StatusOr<std::string> before = ConnectTo(*server).ReadUntilEof();
  ASSERT_THAT(before, IsOk());
  ASSERT_TRUE(Await([&] { return expected_->is_set.load(); }));
  EXPECT_NE(*before, expected_->bytes.data());
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(),
                IsOkAndHolds(std::string(expected_->bytes.data())));
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 6u);
}

// A program with threads cannot create processes that have its rights.
TEST_P(IdentityTest, IsRefusedIfTheProgramHasThreadsAndFewerRights) {
  if (row().refuses_threads) GTEST_SKIP() << "the strategy allows no threads";
  TestServer::Setup setup = RightsSetup();
  setup.run = [](server::TcpServer& server) {
    GiveUpRights();
    std::atomic<bool> ended{false};
    std::thread thread([&] {
      while (!ended) LetPass(absl::Milliseconds(1));
    });
    EXPECT_THAT(
        server.Run(),
        StatusIs(absl::StatusCode::kFailedPrecondition,
                 AllOf(HasSubstr("strategy=zygote"), HasSubstr("the old one"),
                       HasSubstr("create the server after"))));
    ended = true;
    thread.join();
    return absl::OkStatus();
  };
  const auto server = StartServer(std::move(setup));
  EXPECT_TRUE(server->AwaitExit().complete);
}

}  // namespace
}  // namespace brood::testing

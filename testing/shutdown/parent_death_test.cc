// SPDX-License-Identifier: Apache-2.0

// What becomes of children when the server's process is killed: with "finish"
// whoever has a connection serves it, with "die" nobody is left.
//
// The test process adopts those whom the server leaves behind, so it sees each
// of them end. All of them hold the server's standard error, and when that ends
// nobody is left.
//
// The storm kills 10 servers for each strategy and policy, or as many as
// BROOD_PARENT_KILLS says; BROOD_SEED makes it the same as one that failed.

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "brood/testing/support/subreaper.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::OnParentDeath;
using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr size_t kTransfer = 64 << 10;

// Says that it has begun, and sends the rest when it is told to.
ExitCode Transfer(net::Connection& connection) {
  char go;
  const bool done =
      net::WriteFull(connection.socket(), "b").ok() &&
      net::ReadFull(connection.socket(), absl::MakeSpan(&go, 1)).ok() &&
      net::WriteFull(connection.socket(), std::string(kTransfer, 'x')).ok();
  return done ? ExitCode::kServed : ExitCode::kPeerLost;
}

// Of a client that has read the "b".
void ExpectTransfer(TestClient& client) {
  EXPECT_THAT(client.Send("g"), IsOk());
  const absl::StatusOr<std::string> rest = client.ReadUntilEof();
  EXPECT_EQ(rest.ok() ? rest->size() : 0, kTransfer) << rest.status();
  client.Close();
}

class ParentDeathTest : public StrategyTest {
 protected:
  static TestServer::Setup SetupFor(OnParentDeath policy) {
    TestServer::Setup setup;
    setup.options.on_parent_death = policy;
    setup.options.spares.min = 2;
    setup.options.pool.workers = 4;
    setup.handler = Transfer;
    return setup;
  }

  static void KillParent(TestServer& server) {
    server.Signal(SIGKILL);
    EXPECT_TRUE(server.AwaitExit().exit_status.killed());
  }
  // Waits until nobody is left of a server whose process has ended: the wait
  // statuses of those who outlived it.
  static std::vector<int> AwaitNobody(TestServer& server) {
    // Each of them could write to the log: it ends with the last one.
    const absl::Status end = server.AwaitEvent("no-such-event").status();
    if (!absl::IsUnavailable(end)) {
      ADD_FAILURE() << "somebody is left: " << end;
      for (const pid_t pid : DescendantsOf(getpid())) {
        ADD_FAILURE() << DescribeProcess(pid);
        kill(pid, SIGKILL);
      }
    }
    // Those whose descriptors are closed are about to end.
    std::vector<int> ends;
    int status;
    while (TEMP_FAILURE_RETRY(waitpid(-1, &status, 0)) > 0) {
      ends.push_back(status);
    }
    return ends;
  }

 private:
  const Subreaper subreaper_;
};

TEST_P(ParentDeathTest, EndsEveryChildThatIsToDie) {
  TestServer::Setup setup = SetupFor(OnParentDeath::kDie);
  setup.handler = [](net::Connection& connection) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    net::WriteFull(connection.socket(), "b").IgnoreError();
    for (;;) pause();
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(ConnectTo(*server));
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("b"), IsOk());
  }
  KillParent(*server);
  const std::vector<int> ends = AwaitNobody(*server);
  EXPECT_GE(std::count(ends.begin(), ends.end(), SIGKILL), 3);
  for (TestClient& client : clients) EXPECT_THAT(client.ExpectEof(), IsOk());
}

TEST_P(ParentDeathTest, LetsChildrenFinishAndSendsTheOthersHome) {
  const auto server = StartServer(SetupFor(OnParentDeath::kFinish));
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(ConnectTo(*server));
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("b"), IsOk());
  }
  KillParent(*server);
  for (TestClient& client : clients) ExpectTransfer(client);
  EXPECT_THAT(AwaitNobody(*server), Each(0));
}

// Nor does it matter that nobody has looked at the connection yet.
TEST_P(ParentDeathTest, LetsChildrenFinishWhatWaitsInTheirQueues) {
  if (row().made_after_accept && row().forks_itself) {
    GTEST_SKIP() << row().name() << " has no queue";
  }
  const auto server = StartServer(SetupFor(OnParentDeath::kFinish));
  EXPECT_TRUE(Await(
      [&] { return server->children().size() == ChildrenAtRest(*server); }));
  AwaitIdle(server->pid());
  const std::vector<pid_t> waiting = server->children();
  for (const pid_t pid : waiting) Freeze(pid);
  std::vector<TestClient> clients;
  for (int i = 0; i < 2; ++i) clients.push_back(ConnectTo(*server));
  // Both are in the queue when nobody is left in that of the listener.
  AwaitIdle(server->pid());
  KillParent(*server);
  for (const pid_t pid : waiting) kill(pid, SIGCONT);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("b"), IsOk());
    ExpectTransfer(client);
  }
  EXPECT_THAT(AwaitNobody(*server), Each(0));
}

TEST_P(ParentDeathTest, LeavesThePortFreeWhileChildrenFinish) {
  const auto killed = StartServer(SetupFor(OnParentDeath::kFinish));
  TestClient client = ConnectTo(*killed);
  EXPECT_THAT(client.ExpectReply("b"), IsOk());
  KillParent(*killed);
  TestServer::Setup setup;
  setup.options.listen = {killed->endpoint().ToString()};
  // A child that was born at that moment has the listener too, until it runs.
  std::unique_ptr<TestServer> next;
  EXPECT_TRUE(Await([&] {
    absl::StatusOr<std::unique_ptr<TestServer>> started =
        TestServer::Start(setup);
    if (started.ok()) next = *std::move(started);
    return next != nullptr;
  }));
  TestClient other = ConnectTo(*next);
  EXPECT_THAT(other.Echo("hello"), IsOk());
  other.Close();
  ExpectTransfer(client);
  StopAndExpectClean(*next);
  AwaitNobody(*killed);
}

// A change of user makes the kernel forget, as this does.
TEST_P(ParentDeathTest, EndsChildrenWhoseKernelForgotWhenTheyPrepared) {
  TestServer::Setup setup = SetupFor(OnParentDeath::kDie);
  setup.options.prepare_child = [] {
    prctl(PR_SET_PDEATHSIG, 0);
    return absl::OkStatus();
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ExpectReply("b"), IsOk());
  KillParent(*server);
  EXPECT_THAT(AwaitNobody(*server), Not(IsEmpty()));
}

TEST_P(ParentDeathTest, EndsChildrenThatAreNobodys) {
  constexpr uid_t kNobody = 65534;
  const pid_t tries = fork();
  if (tries == 0) _exit(setresuid(kNobody, kNobody, kNobody) == 0 ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(tries, &status, 0), tries);
  if (status != 0) GTEST_SKIP() << "may not change the user here";
  TestServer::Setup setup = SetupFor(OnParentDeath::kDie);
  setup.options.prepare_child = [] {
    return setresuid(kNobody, kNobody, kNobody) == 0
               ? absl::OkStatus()
               : absl::InternalError("setresuid");
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ExpectReply("b"), IsOk());
  KillParent(*server);
  EXPECT_THAT(AwaitNobody(*server), Not(IsEmpty()));
}

TEST_P(ParentDeathTest, EndsChildrenThatHangInTheirPreparation) {
  Shared<std::atomic<int>> hanging;
  TestServer::Setup setup = SetupFor(OnParentDeath::kDie);
  setup.options.prepare_child = [&]() -> absl::Status {
    ++*hanging;
    for (;;) pause();
  };
  const auto server = StartServer(std::move(setup));
  const TestClient client = ConnectTo(*server);
  EXPECT_TRUE(Await([&] { return *hanging > 0; }));
  KillParent(*server);
  EXPECT_THAT(AwaitNobody(*server), Not(IsEmpty()));
}

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* text = getenv(name);
  uint32_t number;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number
                                                            : otherwise;
}

// Servers that are killed 0 to 5 ms after the last of some clients connected.
class ParentDeathStormTest : public ParentDeathTest {
 protected:
  static constexpr int kClients = 3;

  ParentDeathStormTest()
      : kills_(FromEnvironment("BROOD_PARENT_KILLS", 10)),
        seed_(FromEnvironment("BROOD_SEED", std::random_device()())),
        random_(seed_) {
    std::cout << "BROOD_SEED=" << seed_ << std::endl;
  }

  // Starts one, connects, and kills it.
  std::unique_ptr<TestServer> StartAndKill(OnParentDeath policy,
                                           std::vector<TestClient>& clients) {
    TestServer::Setup setup = SetupFor(policy);
    setup.handler = [this](net::Connection& connection) {
      ++*begun_;
      return Transfer(connection);
    };
    auto server = StartServer(std::move(setup));
    for (int i = 0; i < kClients; ++i) clients.push_back(ConnectTo(*server));
    LetPass(absl::Microseconds(random_() % 5000));
    killed_at_ = net::Now();
    KillParent(*server);
    return server;
  }

  const uint32_t kills_;
  const uint32_t seed_;
  std::mt19937 random_;
  net::Instant killed_at_;
  Shared<std::atomic<int>> begun_;
};

TEST_P(ParentDeathStormTest, HasNoSurvivorsIfTheyAreToDie) {
  absl::Duration longest = absl::ZeroDuration();
  int late = 0;
  for (uint32_t i = 0; i < kills_; ++i) {
    std::vector<TestClient> clients;
    const auto server = StartAndKill(OnParentDeath::kDie, clients);
    AwaitNobody(*server);
    const absl::Duration took = net::TimeUntil(net::Now(), killed_at_);
    longest = std::max(longest, took);
    if (took > absl::Milliseconds(500)) ++late;
  }
  std::cout << row() << ", die: " << kills_ << " kills, " << *begun_
            << " transfers begun, nobody left after at most "
            << absl::FormatDuration(longest) << std::endl;
  EXPECT_EQ(late, 0) << "had survivors at 500 ms; BROOD_SEED=" << seed_;
}

TEST_P(ParentDeathStormTest, CutsNoTransferShortIfTheyAreToFinish) {
  int served = 0;
  for (uint32_t i = 0; i < kills_; ++i) {
    std::vector<TestClient> clients;
    const auto server = StartAndKill(OnParentDeath::kFinish, clients);
    for (TestClient& client : clients) {
      const absl::StatusOr<std::string> first = client.ReadExactly(1);
      // One whose connection had no process yet gets nothing at all.
      EXPECT_FALSE(absl::IsDeadlineExceeded(first.status()));
      if (!first.ok()) continue;
      ++served;
      ExpectTransfer(client);
    }
    AwaitNobody(*server);
  }
  std::cout << row() << ", finish: " << kills_ << " kills, " << *begun_
            << " transfers begun, " << served << " completed" << std::endl;
  EXPECT_EQ(served, *begun_) << "BROOD_SEED=" << seed_;
}

INSTANTIATE_TEST_SUITE_P(With, ParentDeathTest, EachStrategy(), StrategyName());
INSTANTIATE_TEST_SUITE_P(With, ParentDeathStormTest, EachStrategy(),
                         StrategyName());

// Where "die" and threads meet: to the kernel, the children of a zygote are
// those of the thread that created the server.
class CreatingThreadTest : public ServerTest {};

TEST_F(CreatingThreadTest, MustNotEndBeforeChildrenThatDieWithIt) {
  int end_thread[2];
  ASSERT_EQ(pipe(end_thread), 0);
  TestServer::Setup setup;
  setup.options.strategy = server::StrategyKind::kZygote;
  setup.options.on_parent_death = OnParentDeath::kDie;
  setup.handler = Transfer;
  setup.run = [&](server::TcpServer& server) -> absl::Status {
    std::thread([&] { _exit(server.Run().ok() ? 0 : 111); }).detach();
    char byte;
    if (read(end_thread[0], &byte, 1) < 0) std::abort();
    syscall(SYS_exit, 0);  // of this thread alone, which created the server
    std::abort();
  };
  const auto server = StartServer(std::move(setup));
  close(end_thread[0]);

  TestClient first = ConnectTo(*server);
  EXPECT_THAT(first.ExpectReply("b"), IsOk());
  EXPECT_EQ(write(end_thread[1], "!", 1), 1);
  close(end_thread[1]);
  EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.signal", SIGKILL}}),
              IsOk());
  EXPECT_THAT(first.ExpectEof(), IsOk());
  // The server itself lives on, and so does its zygote.
  TestClient second = ConnectTo(*server);
  EXPECT_THAT(second.ExpectReply("b"), IsOk());
  ExpectTransfer(second);
  const TestServer::Report report = server->Stop();
  EXPECT_TRUE(report.exit_status.exited());
  EXPECT_EQ(report.exit_status.code(), 0);
}

}  // namespace
}  // namespace brood::testing

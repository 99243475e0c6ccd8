// SPDX-License-Identifier: Apache-2.0

// What children do when the server process is killed: with "finish" a child
// with a connection serves it and ends, with "die" every child is killed.
//
// The test process adopts the children of a killed server, so it sees each of
// them end. All of them have the server's standard error open: when the pipe
// ends, no process is left.
//
// The storm kills 10 servers for each strategy and policy, or as many as
// BROOD_PARENT_KILLS; BROOD_SEED repeats a storm that failed.

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

// Sends "b", and the rest when the client asks for it.
ExitCode Transfer(net::Connection& connection) {
  char go;
  const bool done =
      net::WriteFull(connection.socket(), "b").ok() &&
      net::ReadFull(connection.socket(), absl::MakeSpan(&go, 1)).ok() &&
      net::WriteFull(connection.socket(), std::string(kTransfer, 'x')).ok();
  return done ? ExitCode::kServed : ExitCode::kPeerLost;
}

// Expects the rest, for a client that has read the "b".
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
  // Waits until every child has ended of a server whose own process has ended.
  // Returns the wait statuses of the children that outlived it.
  static std::vector<int> AwaitNoProcess(TestServer& server) {
    // Each process can write to the log, so it ends with the last process.
    const absl::Status end = server.AwaitEvent("no-such-event").status();
    if (!absl::IsUnavailable(end)) {
      ADD_FAILURE() << "a process is left: " << end;
      for (const pid_t pid : DescendantsOf(getpid())) {
        ADD_FAILURE() << DescribeProcess(pid);
        kill(pid, SIGKILL);
      }
    }
    // Processes whose descriptors are closed are about to end.
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
  const std::vector<int> ends = AwaitNoProcess(*server);
  EXPECT_GE(std::count(ends.begin(), ends.end(), SIGKILL), 3);
  for (TestClient& client : clients) EXPECT_THAT(client.ExpectEof(), IsOk());
}

TEST_P(ParentDeathTest, LetsChildrenFinishAndEndsWaitingProcesses) {
  const auto server = StartServer(SetupFor(OnParentDeath::kFinish));
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(ConnectTo(*server));
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("b"), IsOk());
  }
  KillParent(*server);
  for (TestClient& client : clients) ExpectTransfer(client);
  EXPECT_THAT(AwaitNoProcess(*server), Each(0));
}

// The connections are served although no process has taken them yet.
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
  // An idle server has moved both from the queue of the listener to its own.
  AwaitIdle(server->pid());
  KillParent(*server);
  for (const pid_t pid : waiting) kill(pid, SIGCONT);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("b"), IsOk());
    ExpectTransfer(client);
  }
  EXPECT_THAT(AwaitNoProcess(*server), Each(0));
}

TEST_P(ParentDeathTest, LeavesThePortFreeWhileChildrenFinish) {
  const auto killed = StartServer(SetupFor(OnParentDeath::kFinish));
  TestClient client = ConnectTo(*killed);
  EXPECT_THAT(client.ExpectReply("b"), IsOk());
  KillParent(*killed);
  TestServer::Setup setup;
  setup.options.listen = {killed->endpoint().ToString()};
  // A child that has just been created has the listener too, until it runs.
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
  AwaitNoProcess(*killed);
}

// prepare_child resets the death signal, as the kernel does after a change of
// user.
TEST_P(ParentDeathTest, EndsChildrenThatResetTheirDeathSignalInPrepareChild) {
  TestServer::Setup setup = SetupFor(OnParentDeath::kDie);
  setup.options.prepare_child = [] {
    prctl(PR_SET_PDEATHSIG, 0);
    return absl::OkStatus();
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ExpectReply("b"), IsOk());
  KillParent(*server);
  EXPECT_THAT(AwaitNoProcess(*server), Not(IsEmpty()));
}

TEST_P(ParentDeathTest, EndsChildrenThatChangedTheirUser) {
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
  EXPECT_THAT(AwaitNoProcess(*server), Not(IsEmpty()));
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
  EXPECT_THAT(AwaitNoProcess(*server), Not(IsEmpty()));
}

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* text = getenv(name);
  uint32_t number;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number
                                                            : otherwise;
}

// Servers that are killed 0 to 5 ms after the last of three clients connected.
class ParentDeathStormTest : public ParentDeathTest {
 protected:
  static constexpr int kClients = 3;

  ParentDeathStormTest()
      : kills_(FromEnvironment("BROOD_PARENT_KILLS", 10)),
        seed_(FromEnvironment("BROOD_SEED", std::random_device()())),
        random_(seed_) {
    std::cout << "BROOD_SEED=" << seed_ << std::endl;
  }

  // Starts a server, connects clients, and kills the server.
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
    AwaitNoProcess(*server);
    const absl::Duration took = net::TimeUntil(net::Now(), killed_at_);
    longest = std::max(longest, took);
    if (took > absl::Milliseconds(500)) ++late;
  }
  std::cout << row() << ", die: " << kills_ << " kills, " << *begun_
            << " transfers begun, no process left after at most "
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
      // A client whose connection had no process yet gets nothing.
      EXPECT_FALSE(absl::IsDeadlineExceeded(first.status()));
      if (!first.ok()) continue;
      ++served;
      ExpectTransfer(client);
    }
    AwaitNoProcess(*server);
  }
  std::cout << row() << ", finish: " << kills_ << " kills, " << *begun_
            << " transfers begun, " << served << " completed" << std::endl;
  EXPECT_EQ(served, *begun_) << "BROOD_SEED=" << seed_;
}

INSTANTIATE_TEST_SUITE_P(With, ParentDeathTest, EachStrategy(), StrategyName());
INSTANTIATE_TEST_SUITE_P(With, ParentDeathStormTest, EachStrategy(),
                         StrategyName());

// "die" and threads: the kernel treats the thread that created the server as
// the parent of a zygote's children.
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
    syscall(SYS_exit, 0);  // ends only this thread, which created the server
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
  // The server itself and its zygote go on.
  TestClient second = ConnectTo(*server);
  EXPECT_THAT(second.ExpectReply("b"), IsOk());
  ExpectTransfer(second);
  const TestServer::Report report = server->Stop();
  EXPECT_TRUE(report.exit_status.exited());
  EXPECT_EQ(report.exit_status.code(), 0);
}

}  // namespace
}  // namespace brood::testing

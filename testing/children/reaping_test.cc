// SPDX-License-Identifier: Apache-2.0

// Children are reaped at once, however they ended, however many end at a time,
// and whether or not the kernel's notices of their ends arrive.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

constexpr int kThousand = 1000 / kCostOfFork;

class ReapingTest : public StrategyTest {
 protected:
  // Connects `count` clients, and waits until each has its child.
  std::vector<TestClient> ConnectAndEcho(const TestServer& server, int count) {
    std::vector<TestClient> clients = ConnectMany(server, count);
    for (TestClient& client : clients) EXPECT_THAT(client.Echo("x"), IsOk());
    return clients;
  }

  // Echoes, and exits when the client closes its connection.
  static ExitCode EchoAndEnd(net::Connection& connection) {
    server::EchoHandler(64)(connection);
    _exit(0);
  }

  // Closes `clients` while the server is stopped, until their processes ended.
  static void EndWhileStopped(TestServer& server,
                              std::vector<TestClient>& clients) {
    const size_t count = clients.size();
    Freeze(server.pid());
    clients.clear();
    EXPECT_TRUE(Await([&] { return server.zombies().size() == count; }))
        << "not every process ended";
    server.Signal(SIGCONT);
  }
};

// Watches the children of a server from a thread of its own.
class ZombieWatch {
 public:
  explicit ZombieWatch(const TestServer* server)
      : server_(server), thread_([this] { Watch(); }) {}
  ~ZombieWatch() { Stop(); }

  void Stop() {
    stopped_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Returns the longest time that the server slept while one zombie was not
  // reaped. Time in which the server runs or waits for a processor is left out.
  absl::Duration longest_neglect() const { return longest_neglect_; }
  int seen() const { return static_cast<int>(seen_.size()); }

 private:
  void Watch() {
    net::Instant last = net::Now();
    while (!stopped_) {
      LetPass(absl::Milliseconds(2));
      const net::Instant now = net::Now();
      const std::vector<pid_t> zombies = server_->zombies();
      const std::string folder = absl::StrCat("/proc/", server_->pid());
      const bool sleeps = ReadStat(folder).state == 'S';
      std::map<pid_t, absl::Duration> neglected;
      for (pid_t zombie : zombies) {
        seen_.insert(zombie);
        // A zombie that is seen for the first time may have just ended.
        const auto known = neglected_.find(zombie);
        neglected[zombie] = known == neglected_.end() ? absl::ZeroDuration()
                            : sleeps
                                ? known->second + absl::FromChrono(now - last)
                                : known->second;
        longest_neglect_ = std::max(longest_neglect_, neglected[zombie]);
      }
      neglected_ = std::move(neglected);
      last = now;
    }
  }

  const TestServer* const server_;
  std::map<pid_t, absl::Duration> neglected_;
  std::set<pid_t> seen_;
  absl::Duration longest_neglect_;
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

TEST_P(ReapingTest, LeavesNoZombieForLongerThan100ms) {
  TestServer::Setup setup = QuietSetup();
  // One in fifty executes a program, whose end the kernel reports by SIGCHLD.
  setup.handler = [](net::Connection& connection) {
    char kind;
    if (!net::ReadFull(connection.socket(), absl::MakeSpan(&kind, 1)).ok()) {
      return ExitCode::kPeerLost;
    }
    if (kind == 'e') execlp("true", "true", nullptr);
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  ZombieWatch watch(server.get());
  for (int i = 0; i < kThousand; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Send(i % 50 == 0 ? "e" : "s"), IsOk());
    ASSERT_THAT(client.ExpectEof(), IsOk());
  }
  EXPECT_LT(TimeToReap(*server), absl::Seconds(1));
  watch.Stop();
  EXPECT_LE(watch.longest_neglect(), absl::Milliseconds(100));
  EXPECT_GT(watch.seen(), 0) << "the watch saw none and proves nothing";
  RecordProperty("zombies_seen", watch.seen());
  RecordProperty(
      "longest_neglect_us",
      std::to_string(absl::ToInt64Microseconds(watch.longest_neglect())));
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, uint64_t{kThousand});
}

TEST_P(ReapingTest, CountsEachCrashBySignalAndDisturbsNoOtherClient) {
  const std::vector<int> kSignals = {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGKILL};
  TestServer::Setup setup;
  setup.before = [] {
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
  };
  setup.handler = [](net::Connection& connection) {
    char byte;
    while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
      if (byte != 0) raise(byte);
      if (!net::WriteFull(connection.socket(), "+").ok()) break;
    }
    return ExitCode::kServed;
  };
  setup.options.pool.workers = 64;
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = ConnectMany(*server, 64);
  const std::string live(1, '\0');
  for (TestClient& client : clients) {
    ASSERT_THAT(client.Send(live), IsOk());
    ASSERT_THAT(client.ExpectReply("+"), IsOk());
  }
  std::map<int, uint64_t> died;
  for (size_t i = 0; i < clients.size(); i += 2) {
    const int signal = kSignals[i / 2 % kSignals.size()];
    ++died[signal];
    ASSERT_THAT(clients[i].Send(std::string(1, static_cast<char>(signal))),
                IsOk());
  }
  for (size_t i = 0; i < clients.size(); i += 2) {
    EXPECT_THAT(clients[i].ExpectEof(), IsOk());
  }
  for (size_t i = 1; i < clients.size(); i += 2) {
    EXPECT_THAT(clients[i].Send(live), IsOk());
    EXPECT_THAT(clients[i].ExpectReply("+"), IsOk()) << "a sibling's crash";
  }
  clients.clear();

  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 32u);
  EXPECT_EQ(report.totals.crashed, 32u);
  EXPECT_EQ(report.totals.killed, 0u);
  for (int signal = 1; signal < NSIG; ++signal) {
    EXPECT_EQ(report.totals.crashed_by[static_cast<size_t>(signal)],
              died[signal])
        << "signal " << signal;
    EXPECT_THAT(EventsOf(report.log, "ended", {{"brood.exit.signal", signal}}),
                ::testing::SizeIs(died[signal]))
        << "signal " << signal;
  }
}

TEST_P(ReapingTest, ReapsAThousandChildrenAfterSigcontAtOnce) {
  RaiseDescriptorLimit();
  TestServer::Setup setup = QuietSetup();
  setup.options.pool.workers = kThousand;
  setup.handler = EchoAndEnd;
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = ConnectAndEcho(*server, kThousand);
  EndWhileStopped(*server, clients);
  const absl::Duration taken = TimeToReap(*server);
  // 100 ms is promised, and a busy machine may run the server later. If each
  // sweep, every 50 ms, found one child, this would take most of a minute.
  EXPECT_LT(taken, absl::Seconds(1));
  RecordProperty("reaped_1000_in_us",
                 std::to_string(absl::ToInt64Microseconds(taken)));
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, uint64_t{kThousand});
  EXPECT_EQ(totals.unknown, 0u);
}

// Runs with and without Options::owns_all_children.
class OwnershipTest : public ReapingTest {
 protected:
  void FindsAnEndWithoutANotice(bool owns_all_children);
  void ReapsAnExecutedProgram(bool owns_all_children);
};

void OwnershipTest::FindsAnEndWithoutANotice(bool owns_all_children) {
  TestServer::Setup setup = QuietSetup();
  setup.options.owns_all_children = owns_all_children;
  setup.before = [] {
    const rlimit few = {4, 4};
    setrlimit(RLIMIT_SIGPENDING, &few);
  };
  setup.options.pool.workers = 100;
  setup.handler = EchoAndEnd;
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(
      server->AwaitEvent("signal-queue-too-small", {{"brood.signal_limit", 4}}),
      IsOk());
  std::vector<TestClient> clients = ConnectAndEcho(*server, 100);
  // A stopped server takes no notice from the queue.
  EndWhileStopped(*server, clients);
  // The sweep, every 50 ms, reaps all of them.
  EXPECT_LT(TimeToReap(*server), absl::Seconds(1));
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, 100u);
  EXPECT_EQ(totals.unknown, 0u);
}

TEST_P(OwnershipTest, FindsAnEndWithoutANoticeIfItOwnsAllChildren) {
  FindsAnEndWithoutANotice(/*owns_all_children=*/true);
}

TEST_P(OwnershipTest, FindsAnEndWithoutANoticeInALibrary) {
  FindsAnEndWithoutANotice(/*owns_all_children=*/false);
}

void OwnershipTest::ReapsAnExecutedProgram(bool owns_all_children) {
  TestServer::Setup setup = QuietSetup();
  setup.options.owns_all_children = owns_all_children;
  setup.options.max_connections = 4;
  setup.handler = [](net::Connection& connection) {
    dup2(connection.fd(), STDOUT_FILENO);
    execlp("echo", "echo", "another program", nullptr);
    return ExitCode::kSystemRefused;
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = ConnectMany(*server, 20);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("another program\n"));
  }
  EXPECT_LT(TimeToReap(*server), absl::Seconds(1));
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 20u);
}

TEST_P(OwnershipTest, ReapsAnExecutedProgramIfItOwnsAllChildren) {
  ReapsAnExecutedProgram(/*owns_all_children=*/true);
}

TEST_P(OwnershipTest, ReapsAnExecutedProgramInALibrary) {
  ReapsAnExecutedProgram(/*owns_all_children=*/false);
}

INSTANTIATE_TEST_SUITE_P(With, OwnershipTest, EachStrategy(), StrategyName());
INSTANTIATE_TEST_SUITE_P(With, ReapingTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

// A worker of a pool that was taken over by its client: whatever it does, only
// that worker and its connection end.

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/connection_report.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy_kind.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::WorkerReport;

constexpr int kWorkers = 4;

// Returns the worker's own end of its handoff queue.
int OwnQueue() {
  for (const int fd : DescriptorsOf("self")) {
    int type = 0;
    socklen_t size = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
        type == SOCK_SEQPACKET) {
      return fd;
    }
  }
  return -1;
}

void CloseAllBut(const net::Connection& connection) {
  for (const int fd : DescriptorsOf("self")) {
    if (fd != connection.fd()) close(fd);
  }
}

void SetOption(int option, int value) {
  setsockopt(OwnQueue(), SOL_SOCKET, option, &value, sizeof(value));
}

// Sends the report that the connection `serial` is finished, with impossible
// numbers.
void Report(uint32_t serial) {
  WorkerReport lie = {};
  lie.mark = WorkerReport::kMark;
  lie.serial = serial;
  lie.done_at = std::numeric_limits<int64_t>::max();
  lie.usage.ru_utime.tv_sec = std::numeric_limits<int64_t>::min() / 2;
  lie.usage.ru_maxrss = std::numeric_limits<int64_t>::min() / 2;
  send(OwnQueue(), &lie, sizeof(lie), MSG_NOSIGNAL);
}

struct Attack {
  const char* name;
  void (*make)(net::Connection& connection);
};

const Attack kAttacks[] = {
    {"ShutsReadingDown", [](auto&) { shutdown(OwnQueue(), SHUT_RD); }},
    {"ShutsWritingDown", [](auto&) { shutdown(OwnQueue(), SHUT_WR); }},
    {"ShutsBothDown", [](auto&) { shutdown(OwnQueue(), SHUT_RDWR); }},
    {"Closes", [](auto&) { close(OwnQueue()); }},
    {"ClosesEverything",
     [](net::Connection& connection) { CloseAllBut(connection); }},
    {"Replaces",
     [](net::Connection& connection) { dup2(connection.fd(), OwnQueue()); }},
    {"MakesItNonBlocking",
     [](auto&) { fcntl(OwnQueue(), F_SETFL, O_NONBLOCK); }},
    {"LooksBeyondTheEnd", [](auto&) { SetOption(SO_PEEK_OFF, 1 << 20); }},
    {"HasNoRoomToReceive", [](auto&) { SetOption(SO_RCVBUF, 1); }},
    {"HasNoRoomToSend", [](auto&) { SetOption(SO_SNDBUF, 1); }},
    {"DropsAllByAFilter",
     [](auto&) {
       sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
       const sock_fprog filter = {1, &drop};
       setsockopt(OwnQueue(), SOL_SOCKET, SO_ATTACH_FILTER, &filter,
                  sizeof(filter));
     }},
    {"SendsGarbage",
     [](auto&) { send(OwnQueue(), "garbage", 7, MSG_NOSIGNAL); }},
    {"SendsNothing", [](auto&) { send(OwnQueue(), "", 0, MSG_NOSIGNAL); }},
    {"Floods",
     [](auto&) {
       while (send(OwnQueue(), "flood", 5, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
       }
     }},
    {"ReportsWhatItDoesNotServe", [](auto&) { Report(4711); }},
};

// What the worker does after the attack.
enum Then { kReturn, kExit, kDie };

class HostileWorkersTest
    : public ServerTest,
      public ::testing::WithParamInterface<std::tuple<Attack, Then>> {
 protected:
  // Returns the setup of a server with four workers, which attack when a client
  // sends "a".
  static TestServer::Setup Pool() {
    TestServer::Setup setup;
    setup.options.strategy = server::StrategyKind::kPool;
    setup.options.pool.workers = kWorkers;
    setup.handler = [](net::Connection& connection) {
      char kind;
      if (!net::ReadFull(connection.socket(), absl::MakeSpan(&kind, 1)).ok()) {
        return ExitCode::kProtocolError;
      }
      if (kind == 'a') {
        std::get<0>(GetParam()).make(connection);
        if (std::get<1>(GetParam()) == kExit) _exit(3);
        if (std::get<1>(GetParam()) == kDie) kill(getpid(), SIGKILL);
      }
      return net::WriteFull(connection.socket(), "+").ok()
                 ? ExitCode::kServed
                 : ExitCode::kProtocolError;
    };
    return setup;
  }
};

// A1 to A5: each worker makes the attack twice.
TEST_P(HostileWorkersTest, HarmNoOtherClientAndDoNotKeepTheParentBusy) {
  const auto server = StartServer(Pool());
  for (int i = 0; i < 2 * kWorkers; ++i) {
    TestClient attacker = ConnectTo(*server);
    EXPECT_THAT(attacker.Send("a"), IsOk());
    attacker.ReadUntilEof().IgnoreError();
  }
  for (int i = 0; i < 5 * kWorkers; ++i) {
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Send("e"), IsOk());
    EXPECT_THAT(client.ExpectReply("+"), IsOk()) << i;
    EXPECT_THAT(client.ExpectEof(), IsOk()) << i;
  }
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  LetPass(absl::Milliseconds(400));  // the claim is about a length of time
  EXPECT_LT(CpuTimeOf(server->pid()) - busy_before, absl::Milliseconds(20));
  const net::Instant stopped = net::Now();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_LT(absl::FromChrono(net::Now() - stopped), absl::Seconds(2));
  EXPECT_GE(report.totals.ended_ok, 5u * kWorkers);
}

std::string NameOf(
    const ::testing::TestParamInfo<HostileWorkersTest::ParamType>& info) {
  constexpr const char* kThen[] = {"AndReturns", "AndExits", "AndDies"};
  return absl::StrCat(std::get<0>(info.param).name,
                      kThen[std::get<1>(info.param)]);
}

INSTANTIATE_TEST_SUITE_P(With, HostileWorkersTest,
                         ::testing::Combine(::testing::ValuesIn(kAttacks),
                                            ::testing::Values(kReturn, kExit,
                                                              kDie)),
                         NameOf);

class HostileWorkerTest : public ServerTest {};

// F6: a worker that cannot report exits with the code that it had to report.
TEST_F(HostileWorkerTest, IsRecordedWithItsExitCodeIfItClosesEverything) {
  TestServer::Setup setup;
  setup.options.strategy = server::StrategyKind::kPool;
  setup.options.pool.workers = 2;
  setup.handler = [](net::Connection& connection) {
    const int queue = OwnQueue();
    CloseAllBut(connection);
    // The file that now has the number of the queue must not get the report.
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) dup2(ends[0], queue);
    return static_cast<ExitCode>(7);
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds(""));
    EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 7}}), IsOk());
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_error, 4u);
}

struct FirstReport {
  int count = 0;
  absl::Duration to_child, duration, used;
  int64_t memory = 0;
};

// A13, A15: the worker reports that it has finished, and keeps the connection.
// The other values of its report are bounded.
TEST_F(HostileWorkerTest, IsEndedByTheDeadlineOfAConnectionItHasNotFinished) {
  Shared<FirstReport> first;
  TestServer::Setup setup;
  setup.options.strategy = server::StrategyKind::kPool;
  setup.options.pool.workers = kWorkers;
  setup.options.deadlines.connection = absl::Milliseconds(500);
  setup.options.on_connection_end = [&](const server::ConnectionReport& end) {
    if (first->count++ > 0) return;
    first->to_child = end.accept_to_child;
    first->duration = end.duration;
    first->used = absl::DurationFromTimeval(end.status.usage().ru_utime);
    first->memory = end.status.usage().ru_maxrss;
  };
  setup.handler = [](net::Connection& connection) {
    char kind;
    if (!net::ReadFull(connection.socket(), absl::MakeSpan(&kind, 1)).ok()) {
      return ExitCode::kProtocolError;
    }
    // The serial numbers of connections begin with 1.
    if (kind != 'e') Report(static_cast<uint32_t>(kind));
    while (kind != 'e') pause();
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  for (char serial = 1; serial <= 2; ++serial) {
    const net::Instant begun = net::Now();
    TestClient attacker = ConnectTo(*server);
    EXPECT_THAT(attacker.Send({&serial, 1}), IsOk());
    EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
    attacker.ReadUntilEof().IgnoreError();
    EXPECT_LT(absl::FromChrono(net::Now() - begun), absl::Seconds(1));
  }
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Send("e"), IsOk());
  EXPECT_THAT(client.ExpectEof(), IsOk());
  StopAndExpectClean(*server);
  EXPECT_GE(first->duration, first->to_child);
  EXPECT_LT(first->duration, absl::Seconds(10));
  EXPECT_GE(first->used, absl::ZeroDuration());
  EXPECT_GE(first->memory, 0);
}

}  // namespace
}  // namespace brood::testing

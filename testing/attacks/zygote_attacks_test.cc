// SPDX-License-Identifier: Apache-2.0
//
// Attacks on the zygote: row A16. Messages are taken from its queue, and it is
// stopped or killed. Clients are served, and the server stops. With the other
// strategies the same is done to the processes that wait for a connection.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class ZygoteAttacksTest : public AttackTest {};

INSTANTIATE_TEST_SUITE_P(With, ZygoteAttacksTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

std::vector<pid_t> Waiting(const TestServer& server, pid_t except) {
  std::vector<pid_t> waiting;
  for (const pid_t pid : server.children()) {
    if (pid != except) waiting.push_back(pid);
  }
  return waiting;
}

// Copies every unix socket of the process `pid` into the child. Returns the
// copies.
std::vector<int> StealSockets(TakenOverChild& child, pid_t pid) {
  std::vector<int> stolen;
  const TakenOverChild::Result pidfd = child.Syscall(SYS_pidfd_open, pid, 0);
  if (!pidfd.ok()) return stolen;
  for (int fd = 3; fd < 40; ++fd) {
    const TakenOverChild::Result copy =
        child.Syscall(SYS_pidfd_getfd, pidfd.value, fd, 0);
    if (!copy.ok()) continue;
    const int number = static_cast<int>(copy.value);
    if (child.SocketOption(number, SO_DOMAIN) == AF_UNIX) {
      stolen.push_back(number);
    } else {
      child.Syscall(SYS_close, number);
    }
  }
  child.Syscall(SYS_close, pidfd.value);
  return stolen;
}

// Takes one message from each of `sockets`. Returns how many there were.
int TakeMessages(TakenOverChild& child, const std::vector<int>& sockets) {
  const uint64_t bytes = child.Put(std::string(4096, ' '));
  int taken = 0;
  for (const int fd : sockets) {
    if (child.Syscall(SYS_recvfrom, fd, bytes, 4096, MSG_DONTWAIT, 0, 0).value >
        0) {
      ++taken;
    }
  }
  return taken;
}

// The process is stopped while the connection of a client is in its queue.
TEST_P(ZygoteAttacksTest, TakeAMessageFromItsQueue) {
  const auto server = StartVictim("A16 message taken");
  TakenOverChild child = TakeOver(*server);
  const std::vector<pid_t> waiting = Waiting(*server, child.pid());
  std::vector<int> sockets;
  for (const pid_t pid : waiting) {
    child.Syscall(SYS_kill, pid, SIGSTOP);
    for (const int fd : StealSockets(child, pid)) sockets.push_back(fd);
  }
  std::vector<TestClient> victims = ConnectMany(*server, 2);
  AwaitIdle(server->pid());
  const int taken = TakeMessages(child, sockets);
  for (const pid_t pid : waiting) child.Syscall(SYS_kill, pid, SIGCONT);
  std::cout << "A16 " << row().name() << ": " << sockets.size()
            << " sockets stolen, " << taken << " messages taken\n";
  victims.clear();
  EXPECT_EQ(ServeClients(*server), kClients);
  // More clients than the queue has room for.
  EXPECT_EQ(ServeClients(*server, 80), 80);
  ExpectHarmless(*server);
}

// Both the zygote and the standby that replaces it are stopped.
TEST_P(ZygoteAttacksTest, StopThoseThatWait) {
  if (row().forks_itself && !row().made_after_accept) {
    GTEST_SKIP() << "a connection waits for each of them";
  }
  const auto server = StartVictim("A16 SIGSTOP");
  TakenOverChild child = TakeOver(*server);
  for (const pid_t pid : Waiting(*server, child.pid())) {
    child.Syscall(SYS_kill, pid, SIGSTOP);
  }
  EXPECT_EQ(ServeClients(*server), kClients);
  ExpectHarmless(*server);
}

// The connection of a client is in the queue of a stopped process.
TEST_P(ZygoteAttacksTest, StopThoseThatWaitWhenTheServerStops) {
  const auto server = StartVictim("A16 SIGSTOP, then a stop");
  TakenOverChild child = TakeOver(*server);
  for (const pid_t pid : Waiting(*server, child.pid())) {
    child.Syscall(SYS_kill, pid, SIGSTOP);
  }
  std::vector<TestClient> victims = ConnectMany(*server, 2);
  AwaitIdle(server->pid());
  ExpectNotBusy(*server);
  ExpectClean(StopInTime(*server));
}

TEST_P(ZygoteAttacksTest, KillThoseThatWaitAgainAndAgain) {
  const auto server = StartVictim("A16 SIGKILL, 20 times");
  TakenOverChild child = TakeOver(*server);
  for (int i = 0; i < 20; ++i) {
    for (const pid_t pid : Waiting(*server, child.pid())) {
      child.Syscall(SYS_kill, pid, SIGKILL);
    }
    EXPECT_EQ(ServeClients(*server, 2), 2);
  }
  EXPECT_TRUE(child.Syscall(SYS_getpid).ok());
  child.client().Close();
  ExpectHarmless(*server);
}

}  // namespace
}  // namespace brood::testing

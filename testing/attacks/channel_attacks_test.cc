// SPDX-License-Identifier: Apache-2.0
//
// Attacks on the channel by which a worker reports: rows A1, A5 and A12. A
// child does to each of its sockets what a process may do to a socket; no other
// client and no other process is disturbed.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/forged_report.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class ChannelAttacksTest : public AttackTest {
 protected:
  using Attack = std::function<void(TakenOverChild&, int fd)>;

  // Lets children run `attack` on each of their sockets. One of them then
  // stays, one returns from its handler, and one exits.
  void AttackEachSocket(const std::string& name, const Attack& attack);
};

INSTANTIATE_TEST_SUITE_P(With, ChannelAttacksTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

void ChannelAttacksTest::AttackEachSocket(const std::string& name,
                                          const Attack& attack) {
  const auto server = StartVictim(name);
  std::vector<TakenOverChild> children = TakeOverMany(*server, 3);
  for (TakenOverChild& child : children) {
    for (const int fd : child.UnixSockets()) attack(child, fd);
  }
  children[1].Return();
  children[1].client().Close();
  children[2].Exit(0);
  children[2].client().Close();
  ExpectHarmless(*server);
}

TEST_P(ChannelAttacksTest, ShutsItsSocketsDown) {
  for (const int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
    AttackEachSocket(absl::StrCat("A1 shutdown ", how),
                     [how](TakenOverChild& child, int fd) {
                       child.Syscall(SYS_shutdown, fd, how);
                     });
  }
}

TEST_P(ChannelAttacksTest, ClosesOrReplacesItsSockets) {
  AttackEachSocket("A1 close", [](TakenOverChild& child, int fd) {
    child.Syscall(SYS_close, fd);
  });
  AttackEachSocket("A1 dup2 of standard error",
                   [](TakenOverChild& child, int fd) {
                     child.Syscall(SYS_dup3, STDERR_FILENO, fd, 0);
                   });
  AttackEachSocket(
      "A1 dup2 of a socket pair", [](TakenOverChild& child, int fd) {
        const uint64_t pair = child.Put(std::string(8, '\0'));
        child.Syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET, 0, pair);
        child.Syscall(SYS_dup3, child.GetValue<int>(pair), fd, 0);
      });
}

TEST_P(ChannelAttacksTest, SendsWhatIsNoReport) {
  for (const size_t size : {0, 1, 24, 167, 168, 169, 60000}) {
    AttackEachSocket(absl::StrCat("A1 message of ", size, " bytes"),
                     [size](TakenOverChild& child, int fd) {
                       const uint64_t bytes =
                           child.Put(std::string(size, '\xff'));
                       child.Syscall(SYS_sendto, fd, bytes, size,
                                     MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
                     });
  }
}

TEST_P(ChannelAttacksTest, SendsDescriptors) {
  AttackEachSocket("A1 message with a descriptor",
                   [](TakenOverChild& child, int fd) {
                     for (int i = 0; i < 20; ++i) {
                       child.SendDescriptor(fd, i % 3, std::string(168, 0));
                     }
                   });
}

// If a child shares sockets with other children, the sockets of any child do.
TEST_P(ChannelAttacksTest, FloodsItsSocketsWhichDoNotBlock) {
  for (const size_t size : {size_t{1}, size_t{168}}) {
    for (const bool blocks : {true, false}) {
      const auto server = StartVictim(absl::StrCat(
          "A5 flood of ", size, " bytes", blocks ? "" : ", O_NONBLOCK"));
      std::vector<TakenOverChild> children = TakeOverMany(*server, 2);
      for (size_t i = 0; i < children.size(); ++i) {
        TakenOverChild& child = children[i];
        const std::vector<int> sockets = child.UnixSockets();
        if (sockets.size() <= i) continue;
        const uint64_t on = child.PutValue(int{1});
        for (const int fd : sockets) {
          if (!blocks) child.Syscall(SYS_ioctl, fd, FIONBIO, on);
        }
        const uint64_t bytes = child.Put(std::string(size, '\xff'));
        child.Flood(SYS_sendto, sockets[i], bytes, size, MSG_NOSIGNAL, 0, 0);
      }
      ExpectHarmless(*server);
    }
  }
}

// The kernel adds the pid of the sender to a message, but root may add another.
TEST_P(ChannelAttacksTest, ReportsInTheNameOfASiblingAsRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "the test is not root";
  const auto server = StartVictim("A12 forged sender, as root", SetupAsRoot());
  pid_t sibling;
  TestClient busy = ConnectHonest(*server, &sibling);
  TakenOverChild child = TakeOver(*server);
  for (const int fd : child.UnixSockets()) {
    for (uint32_t index = 0; index < kWorkers; ++index) {
      const ForgedReport report = {index, 1, 0, 0, 0, {}};
      child.SendAs(fd, sibling,
                   {reinterpret_cast<const char*>(&report), sizeof(report)});
    }
  }
  EXPECT_EQ(ServeClients(*server), kClients);
  EXPECT_THAT(busy.Send("question"), IsOk());
  EXPECT_THAT(busy.ReadExactly(8), IsOkAndHolds("question"));
  busy.Close();
  child.client().Close();
  ExpectHarmless(*server);
}

}  // namespace
}  // namespace brood::testing

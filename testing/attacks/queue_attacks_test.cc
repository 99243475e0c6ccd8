// SPDX-License-Identifier: Apache-2.0
//
// Attacks on the queue by which a worker gets its connections: rows A2, A3, A4
// and A13. The effects of what a worker does to its queue end with that worker,
// and it cannot keep more clients than its share.

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iostream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/forged_report.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class QueueAttacksTest : public AttackTest {
 protected:
  using Attack = std::function<void(TakenOverChild&, int fd)>;

  // Lets every worker run `attack` on each of its sockets, and exit.
  void PoisonAndExit(const std::string& name, const Attack& attack);
  // Lets one worker run `attack`, and return from its handler as an honest
  // worker does. It may then get one more connection, which it does not serve.
  void PoisonAndReturn(const std::string& name, const Attack& attack);
};

INSTANTIATE_TEST_SUITE_P(With, QueueAttacksTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

void QueueAttacksTest::PoisonAndExit(const std::string& name,
                                     const Attack& attack) {
  const auto server = StartVictim(name + ", exit");
  AttackByAll(*server, [&](TakenOverChild& child) {
    for (const int fd : child.UnixSockets()) attack(child, fd);
  });
  ExpectHarmless(*server);
  // The pool itself serves the clients: its workers were replaced.
  if (!row().one_each) {
    EXPECT_LE(processes().size(), kClients / 2u);
  }
}

void QueueAttacksTest::PoisonAndReturn(const std::string& name,
                                       const Attack& attack) {
  const auto server = StartVictim(name + ", return");
  {
    TakenOverChild child = TakeOver(*server);
    for (const int fd : child.UnixSockets()) attack(child, fd);
    child.Return();
  }
  // A worker that was taken over has power over its later clients. It may leave
  // one of them without a reply; then it is busy, and gets no other.
  EXPECT_GE(ServeClients(*server), kClients - 1);
  if (!row().one_each) {
    EXPECT_LE(processes().size(), kClients / 2u);
  }
  ExpectHarmless(*server);
}

// Sets the option `name` of `fd` to `value`.
template <typename T>
TakenOverChild::Result Set(TakenOverChild& child, int fd, int name, T value) {
  return child.Syscall(SYS_setsockopt, fd, SOL_SOCKET, name,
                       child.PutValue(value), sizeof(value));
}

void SetPeekOffset(TakenOverChild& child, int fd) {
  Set(child, fd, SO_PEEK_OFF, int{1 << 20});
}

// Makes the socket drop every message.
void DropAll(TakenOverChild& child, int fd) {
  const sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  const uint64_t code = child.PutValue(drop);
  const sock_fprog program = {1, reinterpret_cast<sock_filter*>(code)};
  Set(child, fd, SO_ATTACH_FILTER, program);
}

void SetNonBlocking(TakenOverChild& child, int fd) {
  child.Syscall(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

TEST_P(QueueAttacksTest, SetsThePeekOffset) {
  PoisonAndExit("A2 SO_PEEK_OFF", SetPeekOffset);
  PoisonAndReturn("A2 SO_PEEK_OFF", SetPeekOffset);
}

TEST_P(QueueAttacksTest, DropsWhatIsSent) {
  PoisonAndExit("A4 SO_ATTACH_FILTER", DropAll);
  PoisonAndReturn("A4 SO_ATTACH_FILTER", DropAll);
  PoisonAndExit("A2 SO_LOCK_FILTER", [](TakenOverChild& child, int fd) {
    DropAll(child, fd);
    Set(child, fd, SO_LOCK_FILTER, int{1});
  });
}

TEST_P(QueueAttacksTest, SetsTimeoutsAndSizes) {
  PoisonAndExit("A2 SO_RCVTIMEO", [](TakenOverChild& child, int fd) {
    Set(child, fd, SO_RCVTIMEO, timeval{0, 1});
  });
  PoisonAndReturn("A2 SO_RCVTIMEO", [](TakenOverChild& child, int fd) {
    Set(child, fd, SO_RCVTIMEO, timeval{0, 1});
  });
  PoisonAndExit("A2 SO_RCVBUF, SO_SNDBUF of 1",
                [](TakenOverChild& child, int fd) {
                  Set(child, fd, SO_RCVBUF, int{1});
                  Set(child, fd, SO_SNDBUF, int{1});
                });
  PoisonAndExit(
      "A2 FIOASYNC, F_SETOWN, SO_RCVLOWAT", [](TakenOverChild& child, int fd) {
        child.Syscall(SYS_fcntl, fd, F_SETOWN, child.pid());
        child.Syscall(SYS_ioctl, fd, FIOASYNC, child.PutValue(int{1}));
        Set(child, fd, SO_RCVLOWAT, int{1 << 20});
      });
}

TEST_P(QueueAttacksTest, MakesItNonBlocking) {
  PoisonAndExit("A3 O_NONBLOCK", SetNonBlocking);
  PoisonAndReturn("A3 O_NONBLOCK", SetNonBlocking);
}

TEST_P(QueueAttacksTest, ShutsItForReading) {
  const auto shut = [](TakenOverChild& child, int fd) {
    child.Syscall(SYS_shutdown, fd, SHUT_RD);
  };
  PoisonAndExit("A4 shutdown for reading", shut);
  PoisonAndReturn("A4 shutdown for reading", shut);
}

// A worker leaves messages in its queue, for the next worker.
TEST_P(QueueAttacksTest, LeavesMessagesInIt) {
  PoisonAndExit("A4 messages left", [](TakenOverChild& child, int fd) {
    const uint64_t bytes = child.Put(std::string(88, '\x01'));
    child.Repeat(1000, SYS_sendto, fd, bytes, 88, MSG_DONTWAIT | MSG_NOSIGNAL,
                 0, 0);
  });
}

// A worker of a pool that takes connections from its own queue and replies to
// none: it gets the next connection as soon as it has reported.
class GreedyWorkerTest : public AttackTest {
 protected:
  static constexpr int kShare = 4;

  static TestServer::Setup PoolSetup() {
    TestServer::Setup setup = AttackSetup();
    setup.options.pool.max_connections = kShare;
    setup.options.deadlines.connection = absl::Seconds(1);
    return setup;
  }
  // Lets one child report again and again that it has finished, with each of
  // `firsts` as ForgedReport::first.
  void ReportAtOnce(const std::string& name,
                    const std::vector<uint32_t>& firsts);
};

INSTANTIATE_TEST_SUITE_P(With, GreedyWorkerTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

// Returns how long it takes until no process has the connection of `client` any
// more: the kernel then answers the bytes of the client with a reset.
absl::Duration TimeToEnd(TestClient& client) {
  const net::Instant from = net::Now();
  EXPECT_TRUE(Await([&] { return !client.Send("x").ok(); }, absl::Seconds(5)));
  return absl::FromChrono(net::Now() - from);
}

// Keeps the connection open by a message in another socket of the child.
void SendToItself(TakenOverChild& child, int connection) {
  for (const int fd : child.UnixSockets()) {
    child.SendDescriptor(fd, connection, std::string(168, '\0'));
  }
}

// Keeps the connection open by a mapping, without a descriptor.
void MapIt(TakenOverChild& child, int connection) {
  child.Syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, connection, 0);
}

// The child returns from its handler as an honest child does, and the
// connection stays open.
TEST_P(GreedyWorkerTest, KeepsItsConnectionNoLongerThanTheDeadline) {
  for (const auto& [name, keep] :
       {std::pair{"A13 kept in a message", &SendToItself},
        std::pair{"A13 kept by a mapping", &MapIt}}) {
    const auto server = StartVictim(name, PoolSetup());
    std::vector<TakenOverChild> children = TakeOverMany(*server, 2);
    for (TakenOverChild& child : children) keep(child, child.Connection());
    for (TakenOverChild& child : children) child.Return();
    absl::Duration longest;
    for (TakenOverChild& child : children) {
      longest = std::max(longest, TimeToEnd(child.client()));
    }
    EXPECT_LT(longest, absl::Seconds(3)) << name;
    std::cout << name << " with a deadline of 1 s: open for " << longest
              << "\n";
    ExpectHarmless(*server);
  }
}

// The child reports that it has finished, in one of the two forms of reports,
// and does not take the next connections from its queue. Serial numbers begin
// with 1.
void GreedyWorkerTest::ReportAtOnce(const std::string& name,
                                    const std::vector<uint32_t>& firsts) {
  constexpr int kTries = 4 * kShare;
  const auto server = StartVictim(name, PoolSetup());
  TakenOverChild child = TakeOver(*server);
  const std::vector<int> sockets = child.UnixSockets();
  int unanswered = 0;
  std::vector<TestClient> clients;
  for (uint32_t serial = 1; serial <= kTries; ++serial) {
    for (const int fd : sockets) {
      for (const uint32_t first : firsts) {
        const ForgedReport report = {first, serial, 0, 0, 0, {}};
        child.Syscall(SYS_sendto, fd, child.PutValue(report), sizeof(report),
                      MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
      }
    }
    TestClient client = ConnectTo(*server, absl::Milliseconds(500));
    if (Serve(client) != 0) continue;
    ++unanswered;
    clients.push_back(std::move(client));
  }
  // A worker's share varies by a quarter.
  EXPECT_LE(unanswered, kShare + kShare / 4);
  std::cout << name << " " << row().name() << ": " << unanswered << " of "
            << kTries << " later clients taken by one child\n";
  // And it keeps none for longer than the deadline.
  for (TestClient& held : clients) {
    EXPECT_TRUE(Await([&] { return !held.Send("x").ok(); }));
  }
  clients.clear();
  ExpectHarmless(*server);
}

TEST_P(GreedyWorkerTest, TakesNoMoreThanItsShare) {
  std::vector<uint32_t> numbers(kWorkers);
  std::iota(numbers.begin(), numbers.end(), 0u);
  ReportAtOnce("A13 done at once, by number", numbers);
  ReportAtOnce("A13 done at once, by mark", {ForgedReport::kMark});
}

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0
//
// Children that make thousands of random calls, on their descriptors and on
// themselves: other clients are served, and nothing is left behind.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class RandomCallsTest : public AttackTest {};

INSTANTIATE_TEST_SUITE_P(With, RandomCallsTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

// Chooses calls. The seed makes each run of a strategy choose the same calls.
class CallChooser {
 public:
  explicit CallChooser(uint32_t seed) : random_(seed) {}

  // Makes one call in `child`. Returns false if the child has ended.
  bool Call(TakenOverChild& child);

 private:
  template <typename T, size_t kSize>
  T OneOf(const T (&choices)[kSize]) {
    return choices[random_() % kSize];
  }
  // Returns a descriptor of the child, mostly. 0 to 2 belong to the test.
  int64_t Fd() { return static_cast<int64_t>(3 + random_() % 8); }
  // Returns a number that may be a flag, a length, or meaningless.
  int64_t Number() {
    return OneOf<int64_t>({0, 1, -1, 2, 24, 168, 4096, 1 << 20, INT32_MAX,
                           INT64_MIN, static_cast<int64_t>(random_())});
  }
  // Returns an address of the child, or an invalid one.
  uint64_t Address(TakenOverChild& child) {
    if (random_() % 8 == 0) return random_();
    std::string bytes(64 + random_() % 200, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_() % 4);
    return child.Put(bytes);
  }

  std::minstd_rand random_;
};

bool CallChooser::Call(TakenOverChild& child) {
  const int64_t fd = Fd();
  const uint64_t address = Address(child);
  TakenOverChild::Result result;
  switch (random_() % 12) {
    case 0:
      result = child.Syscall(SYS_setsockopt, fd, SOL_SOCKET, random_() % 80,
                             address, OneOf<int64_t>({0, 4, 8, 16, Number()}));
      break;
    case 1:
      result = child.Syscall(
          SYS_fcntl, fd,
          OneOf<int64_t>({F_SETFL, F_SETFD, F_SETSIG, F_GETFL, F_DUPFD}),
          OneOf<int64_t>({O_NONBLOCK, O_ASYNC, 0, 1, 20, Number()}));
      break;
    case 2:
      result = child.Syscall(
          SYS_ioctl, fd,
          OneOf<int64_t>({FIONBIO, FIOASYNC, FIONREAD, FIOCLEX, FIONCLEX}),
          address);
      break;
    case 3:
      result = child.Syscall(SYS_shutdown, fd, random_() % 3);
      break;
    case 4:
      result = child.Syscall(SYS_close, fd);
      break;
    case 5:
      result = child.Syscall(SYS_dup3, fd, Fd(), 0);
      break;
    case 6:
      result = child.Syscall(SYS_sendto, fd, address,
                             OneOf<int64_t>({0, 1, 88, 168, Number()}),
                             MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
      break;
    case 7:
      result = child.Syscall(SYS_recvfrom, fd, address, 64,
                             MSG_DONTWAIT | OneOf<int>({0, MSG_PEEK, MSG_OOB}),
                             0, 0);
      break;
    case 8:
      result = child.SendDescriptor(static_cast<int>(fd),
                                    static_cast<int>(Fd()), "descriptor");
      break;
    case 9:
      // Not PR_SET_SECCOMP, which would end the child.
      result = child.Syscall(
          SYS_prctl,
          OneOf({PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_TIMERSLACK,
                 PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS}),
          random_() % 3, 0, 0, 0);
      break;
    case 10:
      // Rarely, because the child does not obey after this call.
      result = random_() % 20 == 0
                   ? child.Syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0)
                   : child.Syscall(SYS_ptrace, random_() % 40, child.pid(),
                                   address, address);
      break;
    case 11:
      result = child.CloneAndExit(
          OneOf<uint64_t>({SIGCHLD, CLONE_PARENT | SIGCHLD, CLONE_PARENT, 0}),
          1 + random_() % 3);
      break;
  }
  return result.ok() || result.error != TakenOverChild::kGone;
}

// Returns the number that the environment has under `name`, or `otherwise`.
uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* text = getenv(name);
  uint32_t number;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number
                                                            : otherwise;
}

TEST_P(RandomCallsTest, HarmNoOtherClient) {
  const uint32_t seed = FromEnvironment("RANDOM_CALLS_SEED", 1);
  const uint32_t children = FromEnvironment("RANDOM_CALLS_CHILDREN", 30);
  constexpr int kCallsEach = 60;
  const auto server = StartVictim(absl::StrCat("random calls, seed ", seed));
  CallChooser chooser(seed);
  int made = 0, served = 0;
  for (uint32_t i = 0; i < children; ++i) {
    TestClient client = ConnectTo(*server, absl::Seconds(2));
    TakenOverChild child = TakeOver(std::move(client));
    for (int n = 0; n < kCallsEach && chooser.Call(child); ++n) ++made;
    // A worker that goes on would have power over its later clients.
    if (!row().one_each || i % 2 == 0) child.Kill();
    child.client().Close();
    served += ServeClients(*server, 1);
    // Stops early if clients are not served: the test has failed then.
    if (served + 3 < static_cast<int>(i)) break;
  }
  std::cout << "random calls, " << row().name() << ": " << made << " calls by "
            << children << " children, " << served << " of " << children
            << " others served meanwhile\n";
  EXPECT_EQ(served, static_cast<int>(children));
  ExpectHarmless(*server);
}

}  // namespace
}  // namespace brood::testing

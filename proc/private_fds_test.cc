#include "brood/proc/private_fds.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>  // NOLINT(build/c++11): several may hide at once.
#include <utility>
#include <vector>

#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr int kFirst = 500;
constexpr int kCount = 8;

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// Descriptors kFirst to kFirst + kCount - 1 are open.
class HiddenFdsTest : public ::brood::testing::LeakCheck {
 protected:
  HiddenFdsTest() {
    for (int fd = kFirst; fd < kFirst + kCount; ++fd) {
      dup2(STDERR_FILENO, fd);
    }
  }
  ~HiddenFdsTest() override {
    for (int fd = kFirst; fd < kFirst + kCount; ++fd) close(fd);
  }

  static int InAChild(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // Which of them are open in a child: a bit for each, the first one is 1.
  static int OpenInAChild(const std::vector<int>& kept = {}) {
    return InAChild([&] {
      CloseHiddenFds(kept);
      return OpenHere();
    });
  }
  static int OpenHere() {
    int open = 0;
    for (int i = 0; i < kCount; ++i) open |= IsOpen(kFirst + i) ? 1 << i : 0;
    return open;
  }
};

TEST_F(HiddenFdsTest, ClosesNothingThatIsNotHidden) {
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(HiddenFdsTest, ClosesWhatIsHiddenInTheChildAlone) {
  const HiddenFd one(kFirst), three(kFirst + 2), eight(kFirst + 7);
  EXPECT_EQ(OpenInAChild(), 0b01111010);
  EXPECT_EQ(OpenHere(), 0b11111111);
}

TEST_F(HiddenFdsTest, ClosesNeighboursWhateverTheOrderInWhichTheyWereHidden) {
  const HiddenFd four(kFirst + 3), two(kFirst + 1), three(kFirst + 2);
  EXPECT_EQ(OpenInAChild(), 0b11110001);
}

TEST_F(HiddenFdsTest, SparesWhatTheChildIsToKeep) {
  std::vector<HiddenFd> hidden;
  for (int i = 1; i < kCount - 1; ++i) hidden.emplace_back(kFirst + i);
  EXPECT_EQ(OpenInAChild({kFirst + 1}), 0b10000011) << "the first of a range";
  EXPECT_EQ(OpenInAChild({kFirst + 6}), 0b11000001) << "the last";
  EXPECT_EQ(OpenInAChild({kFirst + 3}), 0b10001001) << "one between";
  EXPECT_EQ(OpenInAChild({kFirst + 3, kFirst + 4}), 0b10011001);
  EXPECT_EQ(OpenInAChild({-1, 0, kFirst + 7, 9999}), 0b10000001)
      << "what is not hidden is no matter";
  EXPECT_EQ(OpenInAChild({kFirst + 1, kFirst + 2, kFirst + 3, kFirst + 4,
                          kFirst + 5, kFirst + 6}),
            0b11111111);
}

TEST_F(HiddenFdsTest, HidesForAsLongAsTheOwnerOfTheHidingLives) {
  {
    const HiddenFd hidden(kFirst);
    EXPECT_EQ(OpenInAChild(), 0b11111110);
  }
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(HiddenFdsTest, HidesWhatTwoHideUntilBothHaveStopped) {
  HiddenFd one(kFirst);
  {
    const HiddenFd same(kFirst);
    EXPECT_EQ(OpenInAChild(), 0b11111110);
  }
  EXPECT_EQ(OpenInAChild(), 0b11111110);
  one = HiddenFd();
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(HiddenFdsTest, HidesOnceHoweverOftenItIsMoved) {
  HiddenFd one(kFirst);
  HiddenFd moved(std::move(one));
  HiddenFd assigned;
  assigned = std::move(moved);
  EXPECT_EQ(OpenInAChild(), 0b11111110);
  assigned = HiddenFd(kFirst + 1);
  EXPECT_EQ(OpenInAChild(), 0b11111101);
}

TEST_F(HiddenFdsTest, HidesNothingForANegativeNumber) {
  const HiddenFd none(-1);
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(HiddenFdsTest, ClosesWithoutCloseRange) {
  std::vector<HiddenFd> hidden;
  for (int i = 1; i < kCount - 1; ++i) hidden.emplace_back(kFirst + i);
  EXPECT_EQ(InAChild([] {
              ::brood::testing::RefuseCalls({SYS_close_range}, ENOSYS);
              const std::vector<int> kept = {kFirst + 3};
              CloseHiddenFds(kept);
              return OpenHere();
            }),
            0b10001001);
}

// A zygote's numbers mean something else from the moment of its birth.
TEST_F(HiddenFdsTest, BelongsToOneProcess) {
  HiddenFd of_the_parent(kFirst);
  EXPECT_EQ(InAChild([&] {
              CloseHiddenFds({});
              ForgetFdsHiddenByParent();
              dup2(STDERR_FILENO, kFirst);
              const HiddenFd own(kFirst + 1);
              const int grandchild = OpenInAChild();
              // The end of what the parent hid is no end of what is ours.
              of_the_parent = HiddenFd();
              return grandchild == 0b11111101 && OpenInAChild() == 0b11111101
                         ? 7
                         : grandchild;
            }),
            7);
  EXPECT_EQ(OpenInAChild(), 0b11111110) << "and the parent's goes on";
}

TEST_F(HiddenFdsTest, BegetsNoNewRegistryInAChildThatHidesWithoutForgetting) {
  const HiddenFd of_the_parent(kFirst);
  EXPECT_EQ(InAChild([] {
              const HiddenFd own(kFirst + 1);
              return OpenInAChild();
            }),
            0b11111101);
}

TEST_F(HiddenFdsTest, MayBeUsedByManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kCount; ++i) {
    threads.emplace_back([i] {
      for (int n = 0; n < 2000; ++n) const HiddenFd hidden(kFirst + i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

}  // namespace
}  // namespace brood::proc

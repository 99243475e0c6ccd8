// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/private_fds.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <thread>  // NOLINT(build/c++11): several may register at once.
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::testing::ElementsAre;

constexpr int kFirst = 500;
constexpr int kCount = 8;

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// Returns the exit code of a child that runs `body`.
int InAChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Returns which of the descriptors are open here: a bit for each, 1 for the
// first.
int OpenHere() {
  int open = 0;
  for (int i = 0; i < kCount; ++i) open |= IsOpen(kFirst + i) ? 1 << i : 0;
  return open;
}

// Returns which of the descriptors are open in a child that closes the private
// ones: a bit for each, 1 for the first.
int OpenInAChild(const std::vector<int>& kept = {}) {
  return InAChild([&] {
    ClosePrivateFds(kept);
    return OpenHere();
  });
}

// Descriptors kFirst to kFirst + kCount - 1 are open.
class PrivateFdsTest : public ::brood::testing::LeakCheck {
 protected:
  PrivateFdsTest() {
    for (int fd = kFirst; fd < kFirst + kCount; ++fd) {
      dup2(STDERR_FILENO, fd);
    }
  }
  ~PrivateFdsTest() override {
    for (int fd = kFirst; fd < kFirst + kCount; ++fd) close(fd);
  }
};

TEST_F(PrivateFdsTest, ClosesNothingThatIsNotRegistered) {
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(PrivateFdsTest, ClosesRegisteredDescriptorsInTheChildOnly) {
  const PrivateFdRegistration one(kFirst), three(kFirst + 2), eight(kFirst + 7);
  EXPECT_EQ(OpenInAChild(), 0b01111010);
  EXPECT_EQ(OpenHere(), 0b11111111);
}

TEST_F(PrivateFdsTest, ClosesNeighboursInAnyOrderOfRegistration) {
  const PrivateFdRegistration four(kFirst + 3), two(kFirst + 1),
      three(kFirst + 2);
  EXPECT_EQ(OpenInAChild(), 0b11110001);
}

TEST_F(PrivateFdsTest, LeavesKeptDescriptorsOpen) {
  std::vector<PrivateFdRegistration> registered;
  for (int i = 1; i < kCount - 1; ++i) registered.emplace_back(kFirst + i);
  EXPECT_EQ(OpenInAChild({kFirst + 1}), 0b10000011) << "the first of a range";
  EXPECT_EQ(OpenInAChild({kFirst + 6}), 0b11000001) << "the last";
  EXPECT_EQ(OpenInAChild({kFirst + 3}), 0b10001001) << "one between";
  EXPECT_EQ(OpenInAChild({kFirst + 3, kFirst + 4}), 0b10011001);
  EXPECT_EQ(OpenInAChild({-1, 0, kFirst + 7, 9999}), 0b10000001)
      << "a descriptor that is not registered has no effect";
  EXPECT_EQ(OpenInAChild({kFirst + 1, kFirst + 2, kFirst + 3, kFirst + 4,
                          kFirst + 5, kFirst + 6}),
            0b11111111);
}

TEST_F(PrivateFdsTest, ClosesUntilRegistrationEnds) {
  {
    const PrivateFdRegistration registered(kFirst);
    EXPECT_EQ(OpenInAChild(), 0b11111110);
  }
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(PrivateFdsTest, ClosesUntilBothOfTwoRegistrationsEnd) {
  PrivateFdRegistration one(kFirst);
  {
    const PrivateFdRegistration same(kFirst);
    EXPECT_EQ(OpenInAChild(), 0b11111110);
  }
  EXPECT_EQ(OpenInAChild(), 0b11111110);
  one = PrivateFdRegistration();
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(PrivateFdsTest, MovesTheRegistration) {
  PrivateFdRegistration one(kFirst);
  PrivateFdRegistration moved(std::move(one));
  PrivateFdRegistration assigned;
  assigned = std::move(moved);
  EXPECT_EQ(OpenInAChild(), 0b11111110);
  assigned = PrivateFdRegistration(kFirst + 1);
  EXPECT_EQ(OpenInAChild(), 0b11111101);
}

TEST_F(PrivateFdsTest, RegistersNothingForANegativeNumber) {
  const PrivateFdRegistration none(-1);
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(PrivateFdsTest, ClosesWithoutCloseRange) {
  std::vector<PrivateFdRegistration> registered;
  for (int i = 1; i < kCount - 1; ++i) registered.emplace_back(kFirst + i);
  EXPECT_EQ(InAChild([] {
              ::brood::testing::RefuseCalls({SYS_close_range}, ENOSYS);
              const std::vector<int> kept = {kFirst + 3};
              ClosePrivateFds(kept);
              return OpenHere();
            }),
            0b10001001);
}

// In a zygote the same numbers stand for other descriptors.
TEST_F(PrivateFdsTest, BelongsToOneProcess) {
  PrivateFdRegistration of_the_parent(kFirst);
  EXPECT_EQ(InAChild([&] {
              ClosePrivateFds({});
              ForgetPrivateFdsOfParent();
              dup2(STDERR_FILENO, kFirst);
              const PrivateFdRegistration own(kFirst + 1);
              const int grandchild = OpenInAChild();
              // The end of the registration of the parent does not end that of
              // this process.
              of_the_parent = PrivateFdRegistration();
              return grandchild == 0b11111101 && OpenInAChild() == 0b11111101
                         ? 7
                         : grandchild;
            }),
            7);
  EXPECT_EQ(OpenInAChild(), 0b11111110)
      << "the parent's registration continues";
}

TEST_F(PrivateFdsTest, ChildStartsWithEmptyRegistry) {
  const PrivateFdRegistration of_the_parent(kFirst);
  EXPECT_EQ(InAChild([] {
              const PrivateFdRegistration own(kFirst + 1);
              return OpenInAChild();
            }),
            0b11111101);
}

TEST_F(PrivateFdsTest, RegistersInManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kCount; ++i) {
    threads.emplace_back([i] {
      for (int n = 0; n < 2000; ++n)
        const PrivateFdRegistration registered(kFirst + i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

// An owner that records, when it closes, whether its descriptors were still
// closed in children.
class Owner {
 public:
  Owner() = default;
  Owner(int first, int second, std::vector<int>* open_at_close)
      : fds_{first, second}, open_at_close_(open_at_close) {}
  Owner(Owner&& other) noexcept { *this = std::move(other); }
  Owner& operator=(Owner&& other) noexcept {
    Close();
    fds_ = std::exchange(other.fds_, {-1, -1});
    open_at_close_ = other.open_at_close_;
    return *this;
  }
  ~Owner() { Close(); }

  std::array<int, 2> fds() const { return fds_; }
  void Close() {
    if (fds_[0] < 0) return;
    open_at_close_->push_back(OpenInAChild());
    fds_ = {-1, -1};
  }

 private:
  std::array<int, 2> fds_ = {-1, -1};
  std::vector<int>* open_at_close_ = nullptr;
};

// An owner of one descriptor, which it does not close.
struct OwnerOfOne {
  int fd() const { return kFirst; }
};

static_assert(!std::is_copy_constructible_v<Private<Owner>>);
static_assert(std::is_nothrow_move_constructible_v<Private<Owner>>);

class PrivateTest : public PrivateFdsTest {
 protected:
  // Which descriptors were open in a child at each Close() of an owner.
  std::vector<int> open_at_close_;
};

TEST_F(PrivateTest, RegistersNothingByDefault) {
  const Private<Owner> empty;
  EXPECT_EQ(OpenInAChild(), 0b11111111);
  EXPECT_EQ(empty->fds()[0], -1);
}

TEST_F(PrivateTest, RegistersTheDescriptorOfAnOwnerOfOne) {
  const Private<OwnerOfOne> owner((OwnerOfOne()));
  EXPECT_EQ(owner.fd(), kFirst);
  EXPECT_EQ(OpenInAChild(), 0b11111110);
}

TEST_F(PrivateTest, RegistersEveryDescriptorOfAnOwnerOfSeveral) {
  const Private<Owner> owner(Owner(kFirst, kFirst + 2, &open_at_close_));
  EXPECT_EQ((*owner).fds()[1], kFirst + 2);
  EXPECT_EQ(OpenInAChild(), 0b11111010);
}

TEST_F(PrivateTest, EndsTheRegistrationBeforeTheOwnerIsDestroyed) {
  { const Private<Owner> owner(Owner(kFirst, kFirst + 1, &open_at_close_)); }
  EXPECT_THAT(open_at_close_, ElementsAre(0b11111111));
}

TEST_F(PrivateTest, EndsTheRegistrationBeforeTheOwnerCloses) {
  Private<Owner> owner(Owner(kFirst, kFirst + 1, &open_at_close_));
  owner.Close();
  EXPECT_THAT(open_at_close_, ElementsAre(0b11111111));
  EXPECT_EQ(OpenInAChild(), 0b11111111);
}

TEST_F(PrivateTest, EndsTheRegistrationBeforeAnotherOwnerIsAssigned) {
  Private<Owner> owner(Owner(kFirst, kFirst + 1, &open_at_close_));
  Private<Owner> other(Owner(kFirst + 2, kFirst + 3, &open_at_close_));
  owner = std::move(other);
  // Only the descriptors of the other owner were closed in children then.
  EXPECT_THAT(open_at_close_, ElementsAre(0b11110011));
  EXPECT_EQ(OpenInAChild(), 0b11110011);
}

TEST_F(PrivateTest, KeepsTheRegistrationWhenItIsMoved) {
  Private<Owner> owner(Owner(kFirst, kFirst + 1, &open_at_close_));
  const Private<Owner> moved(std::move(owner));
  EXPECT_EQ(OpenInAChild(), 0b11111100);
  EXPECT_EQ(moved->fds()[0], kFirst);
  EXPECT_TRUE(open_at_close_.empty());
}

TEST_F(PrivateTest, KeepsTheRegistrationOnSelfAssignment) {
  Private<Owner> owner(Owner(kFirst, kFirst + 1, &open_at_close_));
  Private<Owner>& same = owner;
  owner = std::move(same);
  EXPECT_EQ(OpenInAChild(), 0b11111100);
}

}  // namespace
}  // namespace brood::proc

// SPDX-License-Identifier: Apache-2.0

#include "brood/net/unique_fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>
#include <utility>

#include "brood/net/socket.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using UniqueFdTest = ::brood::testing::LeakCheck;

int NewFd() { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);
static_assert(std::is_same_v<Socket, UniqueFd>);

TEST_F(UniqueFdTest, OwnsNothingByDefault) {
  EXPECT_FALSE(UniqueFd().valid());
  EXPECT_EQ(UniqueFd().fd(), -1);
}

TEST_F(UniqueFdTest, OwnsNothingAfterAdoptingANegativeNumber) {
  EXPECT_FALSE(UniqueFd::Adopt(-1).valid());
}

TEST_F(UniqueFdTest, OwnsDescriptorZero) {
  UniqueFd owner = UniqueFd::Adopt(0);
  EXPECT_TRUE(owner.valid());
  std::move(owner).Release();
}

TEST_F(UniqueFdTest, ClosesDescriptorAtEndOfScope) {
  const int fd = NewFd();
  {
    const UniqueFd owner = UniqueFd::Adopt(fd);
    EXPECT_EQ(owner.fd(), fd);
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST_F(UniqueFdTest, LeavesReleasedDescriptorOpen) {
  const int fd = NewFd();
  { EXPECT_EQ(UniqueFd::Adopt(fd).Release(), fd); }
  EXPECT_TRUE(IsOpen(fd));
  close(fd);
}

TEST_F(UniqueFdTest, OwnsNothingAfterMove) {
  UniqueFd from = UniqueFd::Adopt(NewFd());
  const int fd = from.fd();
  const UniqueFd to = std::move(from);
  EXPECT_EQ(to.fd(), fd);
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move)
}

TEST_F(UniqueFdTest, ClosesOldDescriptorOnAssignment) {
  UniqueFd to = UniqueFd::Adopt(NewFd());
  const int old_fd = to.fd();
  UniqueFd from = UniqueFd::Adopt(NewFd());
  const int new_fd = from.fd();
  to = std::move(from);
  EXPECT_FALSE(IsOpen(old_fd));
  EXPECT_EQ(to.fd(), new_fd);
  EXPECT_TRUE(IsOpen(new_fd));
}

TEST_F(UniqueFdTest, KeepsDescriptorOnSelfAssignment) {
  UniqueFd owner = UniqueFd::Adopt(NewFd());
  UniqueFd& same = owner;
  owner = std::move(same);
  EXPECT_TRUE(IsOpen(owner.fd()));
}

TEST_F(UniqueFdTest, ClosesOnlyOnce) {
  UniqueFd owner = UniqueFd::Adopt(NewFd());
  const int fd = owner.fd();
  owner.Close();
  EXPECT_FALSE(owner.valid());
  const UniqueFd other = UniqueFd::Adopt(NewFd());
  ASSERT_EQ(other.fd(), fd);
  owner.Close();
  EXPECT_TRUE(IsOpen(fd));
}

TEST_F(UniqueFdTest, LeavesErrnoUnchangedOnClose) {
  errno = ECONNRESET;
  UniqueFd::Adopt(NewFd()).Close();
  EXPECT_EQ(errno, ECONNRESET);
  const int closed = NewFd();
  close(closed);
  errno = ECONNRESET;
  UniqueFd::Adopt(closed).Close();  // close fails with EBADF
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(UniqueFdTest, MovesStandardDescriptorToAHigherNumber) {
  const UniqueFd kept = UniqueFd::Adopt(dup(STDIN_FILENO));
  UniqueFd low = UniqueFd::Adopt(NewFd());
  ASSERT_EQ(dup2(low.fd(), STDIN_FILENO), STDIN_FILENO);
  low.Close();
  const UniqueFd moved =
      UniqueFd::AboveStandardDescriptors(UniqueFd::Adopt(STDIN_FILENO));
  EXPECT_FALSE(IsOpen(STDIN_FILENO));
  ASSERT_EQ(dup2(kept.fd(), STDIN_FILENO), STDIN_FILENO);
  EXPECT_GT(moved.fd(), STDERR_FILENO);
  EXPECT_EQ(fcntl(moved.fd(), F_GETFD), FD_CLOEXEC);
}

TEST_F(UniqueFdTest, LeavesHigherDescriptorAndNothingAsTheyAre) {
  UniqueFd owner = UniqueFd::Adopt(NewFd());
  const int fd = owner.fd();
  owner = UniqueFd::AboveStandardDescriptors(std::move(owner));
  EXPECT_EQ(owner.fd(), fd);
  EXPECT_FALSE(UniqueFd::AboveStandardDescriptors(UniqueFd()).valid());
}

}  // namespace
}  // namespace brood::net

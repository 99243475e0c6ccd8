#include "brood/net/socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>
#include <utility>

#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using SocketTest = ::brood::testing::LeakCheck;

int NewFd() { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static_assert(!std::is_copy_constructible_v<Socket>);
static_assert(!std::is_copy_assignable_v<Socket>);
static_assert(std::is_nothrow_move_constructible_v<Socket>);

TEST_F(SocketTest, OwnsNothingByDefault) {
  EXPECT_FALSE(Socket().valid());
  EXPECT_EQ(Socket().fd(), -1);
}

TEST_F(SocketTest, OwnsNothingOfANegativeNumber) {
  EXPECT_FALSE(Socket::Adopt(-1).valid());
}

TEST_F(SocketTest, TakesZeroForADescriptor) {
  Socket socket = Socket::Adopt(0);
  EXPECT_TRUE(socket.valid());
  std::move(socket).Release();
}

TEST_F(SocketTest, ClosesWhatItOwnsAtTheEndOfTheScope) {
  const int fd = NewFd();
  {
    const Socket socket = Socket::Adopt(fd);
    EXPECT_EQ(socket.fd(), fd);
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST_F(SocketTest, GivesUpWhatItReleases) {
  const int fd = NewFd();
  { EXPECT_EQ(Socket::Adopt(fd).Release(), fd); }
  EXPECT_TRUE(IsOpen(fd));
  close(fd);
}

TEST_F(SocketTest, IsEmptyWhenItWasMoved) {
  Socket from = Socket::Adopt(NewFd());
  const int fd = from.fd();
  const Socket to = std::move(from);
  EXPECT_EQ(to.fd(), fd);
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move)
}

TEST_F(SocketTest, ClosesWhatItOwnedWhenItIsAssigned) {
  Socket to = Socket::Adopt(NewFd());
  const int old_fd = to.fd();
  Socket from = Socket::Adopt(NewFd());
  const int new_fd = from.fd();
  to = std::move(from);
  EXPECT_FALSE(IsOpen(old_fd));
  EXPECT_EQ(to.fd(), new_fd);
  EXPECT_TRUE(IsOpen(new_fd));
}

TEST_F(SocketTest, SurvivesItsAssignmentToItself) {
  Socket socket = Socket::Adopt(NewFd());
  Socket& same = socket;
  socket = std::move(same);
  EXPECT_TRUE(IsOpen(socket.fd()));
}

TEST_F(SocketTest, ClosesNoNumberThatIsSomebodyElsesByNow) {
  Socket socket = Socket::Adopt(NewFd());
  const int fd = socket.fd();
  socket.Close();
  EXPECT_FALSE(socket.valid());
  const Socket other = Socket::Adopt(NewFd());
  ASSERT_EQ(other.fd(), fd);
  socket.Close();
  EXPECT_TRUE(IsOpen(fd));
}

TEST_F(SocketTest, HidesNoErrorByClosing) {
  errno = ECONNRESET;
  Socket::Adopt(NewFd()).Close();
  EXPECT_EQ(errno, ECONNRESET);
  const int closed = NewFd();
  close(closed);
  errno = ECONNRESET;
  Socket::Adopt(closed).Close();  // close says EBADF
  EXPECT_EQ(errno, ECONNRESET);
}

}  // namespace
}  // namespace brood::net

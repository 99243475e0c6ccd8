// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/standard_error.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "brood/server/log_level.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class StandardErrorTest : public ::brood::testing::LeakCheck {
 protected:
  // Runs `body` in a child whose standard error is `fd`, prepared for `choice`.
  // Expects that it returns true, and closes `fd`.
  static void ExpectInChild(int fd, ChildStderr choice,
                            const std::function<bool()>& body) {
    const pid_t child = fork();
    if (child == 0) {
      dup2(fd, STDERR_FILENO);
      _exit(SetStandardError(choice, false).ok() && body() ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    close(fd);
  }
  static bool IsBlocking() {
    return (fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) == 0;
  }
};

// The flags that a child sets are its own.
TEST_F(StandardErrorTest, IsAnOpenFileOfItsOwn) {
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  ExpectInChild(pipe_fds[1], ChildStderr::kOwn, [&] {
    fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
    return (fcntl(pipe_fds[1], F_GETFL) & O_NONBLOCK) == 0 &&
           (fcntl(STDERR_FILENO, F_GETFD) & FD_CLOEXEC) == 0;
  });
  close(pipe_fds[0]);
  std::string path = ::testing::TempDir() + "/log.XXXXXX";
  const int file = mkostemp(path.data(), O_APPEND | O_CLOEXEC);
  ExpectInChild(file, ChildStderr::kOwn, [file] {
    lseek(STDERR_FILENO, 100, SEEK_SET);
    return lseek(file, 0, SEEK_CUR) == 0 &&
           (fcntl(STDERR_FILENO, F_GETFL) & O_APPEND) != 0 && IsBlocking();
  });
  unlink(path.c_str());
}

TEST_F(StandardErrorTest, IsOwnAheadOfAConnectionAlone) {
  for (const bool is_ahead : {false, true}) {
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    ExpectInChild(fds[1], ChildStderr::kShared, [&] {
      if (!SetStandardError(ChildStderr::kAhead, is_ahead).ok()) return false;
      fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
      return ((fcntl(fds[1], F_GETFL) & O_NONBLOCK) == 0) == is_ahead;
    });
    close(fds[0]);
  }
}

// A file that blocks still blocks, and a file that does not still does not.
TEST_F(StandardErrorTest, KeepsWhetherItBlocks) {
  for (const int flags : {0, O_NONBLOCK}) {
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC | flags), 0);
    ExpectInChild(fds[1], ChildStderr::kOwn,
                  [flags] { return IsBlocking() == (flags == 0); });
    close(fds[0]);
  }
}

// All writers of such a file share its position.
TEST_F(StandardErrorTest, SharesAFileThatIsNotAppendedTo) {
  std::string path = ::testing::TempDir() + "/log.XXXXXX";
  const int file = mkostemp(path.data(), O_CLOEXEC);
  ExpectInChild(file, ChildStderr::kOwn, [file] {
    return write(STDERR_FILENO, "hello", 5) == 5 &&
           lseek(file, 0, SEEK_CUR) == 5;
  });
  unlink(path.c_str());
}

TEST_F(StandardErrorTest, SharesAFileThatCannotBeOpenedAgain) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  ExpectInChild(fds[1], ChildStderr::kOwn,
                [] { return write(STDERR_FILENO, "x", 1) == 1; });
  close(fds[0]);
  // A pipe whose reader has gone.
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  close(fds[0]);
  ExpectInChild(fds[1], ChildStderr::kOwn, IsBlocking);
}

// To open a FIFO waits for a reader, and the client would wait as well.
TEST_F(StandardErrorTest, DoesNotWaitForAReaderThatHasGone) {
  const std::string path = ::testing::TempDir() + "/fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const int writer = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  close(reader);
  unlink(path.c_str());
  ExpectInChild(writer, ChildStderr::kOwn, [] { return IsBlocking(); });
}

TEST_F(StandardErrorTest, StaysClosed) {
  ExpectInChild(dup(STDIN_FILENO), ChildStderr::kShared, [] {
    close(STDERR_FILENO);
    return SetStandardError(ChildStderr::kOwn, false).ok() &&
           fcntl(STDERR_FILENO, F_GETFD) < 0;
  });
}

TEST_F(StandardErrorTest, IsDevNull) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
  ExpectInChild(fds[1], ChildStderr::kNull, [] {
    struct stat file, null;
    return fstat(STDERR_FILENO, &file) == 0 && stat("/dev/null", &null) == 0 &&
           file.st_ino == null.st_ino && write(STDERR_FILENO, "x", 1) == 1;
  });
  char byte;
  EXPECT_EQ(read(fds[0], &byte, 1), 0) << "nothing was written";
  close(fds[0]);
}

}  // namespace
}  // namespace brood::server

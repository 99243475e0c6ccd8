// SPDX-License-Identifier: Apache-2.0

// Tests which file a log is (F17), and that no other process can block or
// silence its writer (A9, A10).

#include "brood/server/log/output/log_descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/net/unique_fd.h"
#include "brood/server/log/line_writer.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::RefuseCalls;
using net::UniqueFd;
using Kind = LogDescriptor::Kind;

class LogDescriptorTest : public ::brood::testing::LeakCheck {
 protected:
  struct Ends {
    UniqueFd reader, writer;
  };
  static Ends Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    return {UniqueFd::Adopt(fds[0]), UniqueFd::Adopt(fds[1])};
  }
  UniqueFd File(const char* name, int flags) const {
    return UniqueFd::Adopt(open(dir_.File(name).c_str(),
                                O_CREAT | O_RDWR | O_CLOEXEC | flags, 0600));
  }
  // Returns what has been written and not yet read.
  static std::string Drain(const UniqueFd& reader) {
    fcntl(reader.fd(), F_SETFL, O_NONBLOCK);
    std::string text(1 << 17, '\0');
    const ssize_t got = read(reader.fd(), text.data(), text.size());
    text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return text;
  }
  static std::string TextOf(const UniqueFd& file) {
    std::string text(4096, '\0');
    const ssize_t got = pread(file.fd(), text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return text;
  }
  // Runs `body` in a child, which may make system calls fail. Expects that it
  // returns true.
  static void ExpectInChild(const std::function<bool()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body() ? 0 : 1);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }

  const ::brood::testing::ShortDir dir_;
};

// F17. The number is closed and given to another file, or another file is
// copied to it.
TEST_F(LogDescriptorTest, WritesToItsFileEvenIfTheNumberIsReused) {
  Ends pipe = Pipe(), later = Pipe();
  UniqueFd appended = File("appended", O_APPEND), plain = File("plain", 0);
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  Ends socket = {UniqueFd::Adopt(sockets[0]), UniqueFd::Adopt(sockets[1])};
  const UniqueFd number = UniqueFd::Adopt(dup(STDIN_FILENO));
  for (const UniqueFd* log :
       {&pipe.writer, &socket.writer, &appended, &plain}) {
    ASSERT_EQ(dup2(log->fd(), number.fd()), number.fd());
    LineWriter writer(LogDescriptor::OpenAgain(number.fd()));
    ASSERT_EQ(dup2(later.writer.fd(), number.fd()), number.fd());
    EXPECT_TRUE(writer.Write("to the log\n"));
    EXPECT_FALSE(writer.file() == FileId::Of(number.fd()));
    EXPECT_TRUE(writer.file() == FileId::Of(log->fd()));
  }
  EXPECT_EQ(Drain(pipe.reader), "to the log\n");
  EXPECT_EQ(Drain(socket.reader), "to the log\n");
  EXPECT_EQ(TextOf(appended), "to the log\n");
  EXPECT_EQ(TextOf(plain), "to the log\n");
  EXPECT_EQ(Drain(later.reader), "");
}

// A descriptor that was closed stays closed, and a borrowed one is checked
// before each write.
TEST_F(LogDescriptorTest, WritesToNoFileThatGetsItsNumberLater) {
  const UniqueFd later = File("later", O_APPEND);
  UniqueFd number = File("earlier", O_APPEND);
  const int fd = number.fd();
  {
    LineWriter borrowed(LogDescriptor::Borrow(fd));
    number.Close();
    LineWriter again(LogDescriptor::OpenAgain(fd));
    EXPECT_EQ(again.file(), absl::nullopt);
    number = UniqueFd::Adopt(fcntl(later.fd(), F_DUPFD_CLOEXEC, fd));
    ASSERT_EQ(number.fd(), fd);
    EXPECT_FALSE(again.Write("hello\n"));
    EXPECT_FALSE(borrowed.Write("hello\n"));
  }
  EXPECT_EQ(TextOf(later), "");
}

// As logrotate does it: moved, removed, or copied and truncated.
TEST_F(LogDescriptorTest, FollowsItsFileWhenItIsRotated) {
  const UniqueFd log = File("log", O_APPEND);
  LineWriter writer(LogDescriptor::OpenAgain(log.fd()));
  EXPECT_TRUE(writer.Write("one\n"));
  ASSERT_EQ(rename(dir_.File("log").c_str(), dir_.File("log.1").c_str()), 0);
  EXPECT_TRUE(writer.Write("two\n"));
  ASSERT_EQ(unlink(dir_.File("log.1").c_str()), 0);
  EXPECT_TRUE(writer.Write("three\n"));
  EXPECT_EQ(TextOf(log), "one\ntwo\nthree\n");
  ASSERT_EQ(ftruncate(log.fd(), 0), 0);
  EXPECT_TRUE(writer.Write("four\n"));
  EXPECT_EQ(TextOf(log), "four\n");
}

// A9. What a process that shares the descriptor can do to it: set flags, move
// the position, shut a socket down.
TEST_F(LogDescriptorTest, IsNotSilencedByAProcessThatSharesTheDescriptor) {
  for (const int append : {O_APPEND, 0}) {
    const UniqueFd log = File(append != 0 ? "appended" : "plain", append);
    LineWriter writer(LogDescriptor::OpenAgain(log.fd()));
    fcntl(log.fd(), F_SETFL,
          O_DIRECT | append);  // not every file system has it
    EXPECT_TRUE(writer.Write("one\n"));
    fcntl(log.fd(), F_SETFL, 0);
    if (append != 0) lseek(log.fd(), 0, SEEK_SET);
    EXPECT_TRUE(writer.Write("two\n"));
    EXPECT_EQ(TextOf(log), "one\ntwo\n");
  }
  Ends pipe = Pipe();
  LineWriter writer(LogDescriptor::OpenAgain(pipe.writer.fd()));
  fcntl(pipe.writer.fd(), F_SETFL, O_DIRECT | O_NONBLOCK);
  EXPECT_TRUE(writer.Write("one\n"));
}

class LogSocketTest : public LogDescriptorTest {
 protected:
  // Connects a socket of `type` to the address of `listener`.
  static UniqueFd ConnectTo(const UniqueFd& listener, int type) {
    sockaddr_un address = {};
    socklen_t length = sizeof(address);
    getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &length);
    UniqueFd fd = UniqueFd::Adopt(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.fd(), reinterpret_cast<sockaddr*>(&address), length),
              0);
    return fd;
  }
  UniqueFd ListenAs(int type) const {
    UniqueFd fd = UniqueFd::Adopt(
        socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    dir_.File("s").copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(
        bind(fd.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
        0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(listen(fd.fd(), 8), 0);
    }
    return fd;
  }
};

TEST_F(LogSocketTest, SendsDatagramsThroughASocketOfItsOwn) {
  const UniqueFd collector = ListenAs(SOCK_DGRAM);
  const UniqueFd log = ConnectTo(collector, SOCK_DGRAM);
  LineWriter writer(LogDescriptor::OpenAgain(log.fd()));
  ASSERT_EQ(shutdown(log.fd(), SHUT_RDWR), 0);
  EXPECT_TRUE(writer.Write("hello\n"));
  EXPECT_EQ(Drain(collector), "hello\n");
}

TEST_F(LogSocketTest, HasAStreamOfItsOwnToTheJournal) {
  const UniqueFd journal = ListenAs(SOCK_STREAM);
  const UniqueFd log = ConnectTo(journal, SOCK_STREAM);
  const FileId id = *FileId::Of(log.fd());
  setenv("JOURNAL_STREAM", absl::StrCat(id.device, ":", id.inode).c_str(), 1);
  LineWriter writer(LogDescriptor::OpenAgain(log.fd()));
  unsetenv("JOURNAL_STREAM");
  ASSERT_EQ(shutdown(log.fd(), SHUT_RDWR), 0);
  EXPECT_TRUE(writer.Write("hello\n"));
  EXPECT_TRUE(writer.file() == FileId::Of(log.fd())) << "children compare it";
  const UniqueFd shared =
      UniqueFd::Adopt(accept(journal.fd(), nullptr, nullptr));
  const UniqueFd own = UniqueFd::Adopt(accept(journal.fd(), nullptr, nullptr));
  // Seven lines of the journal's protocol precede the log.
  EXPECT_EQ(Drain(own), "\n\n6\n0\n0\n0\n0\nhello\n");
}

TEST_F(LogSocketTest, SharesAStreamThatIsNotTheJournal) {
  const UniqueFd collector = ListenAs(SOCK_STREAM);
  const UniqueFd log = ConnectTo(collector, SOCK_STREAM);
  LineWriter writer(LogDescriptor::OpenAgain(log.fd()));
  EXPECT_TRUE(writer.Write("hello\n"));
  const UniqueFd only =
      UniqueFd::Adopt(accept(collector.fd(), nullptr, nullptr));
  EXPECT_EQ(Drain(only), "hello\n");
}

// A10. The pipe belongs to another user, so it cannot be opened again.
class ForeignPipeTest : public LogDescriptorTest {
 protected:
  // Makes the calls fail that fail with the pipe of another user and, if
  // `is_old`, those that an old kernel lacks.
  static void RefuseToOpen(bool is_old) {
    RefuseCalls({SYS_openat, SYS_open}, EACCES);
    if (is_old) RefuseCalls({SYS_pwritev2}, EOPNOTSUPP);
  }
};

TEST_F(ForeignPipeTest, TakesWholeLinesUntilItIsFull) {
  for (const bool is_old : {false, true}) {
    Ends pipe = Pipe();
    ExpectInChild([&] {
      RefuseToOpen(is_old);
      LineWriter writer(LogDescriptor::OpenAgain(pipe.writer.fd()));
      std::string taken;
      const std::string line(300, 'x');
      while (writer.Write(absl::StrCat(line, "\n"))) taken += line + "\n";
      if (taken.empty() || !absl::StartsWith(Drain(pipe.reader), taken)) {
        return false;
      }
      return writer.Write("again\n") && Drain(pipe.reader) == "again\n";
    });
  }
}

TEST_F(ForeignPipeTest, SurvivesAReaderThatHasGone) {
  for (const bool is_old : {false, true}) {
    ExpectInChild([&] {
      Ends pipe = Pipe();
      RefuseToOpen(is_old);
      LineWriter writer(LogDescriptor::OpenAgain(pipe.writer.fd()));
      if (!writer.Write("hello\n")) return false;
      pipe.reader.Close();
      return !writer.Write("hello\n") && !writer.Write("hello\n");
    });
  }
}

// The writer must not check for room and then call write(2): other writers may
// use the room in between. The call that writes must be one that does not wait.
// (SYS_write is refused so that no other call can have written.)
TEST_F(ForeignPipeTest, IsWrittenToByACallThatDoesNotWait) {
  Ends pipe = Pipe();
  ExpectInChild([&] {
    RefuseToOpen(/*is_old=*/false);
    LineWriter writer(LogDescriptor::OpenAgain(pipe.writer.fd()));
    RefuseCalls({SYS_write}, EIO);
    return writer.Write("hello\n") && Drain(pipe.reader) == "hello\n";
  });
}

// On an old kernel the writer writes to a pipe of its own, and moves the line
// to the log by splice(2), with a flag not to wait.
TEST_F(ForeignPipeTest, IsSplicedToOnAnOldKernel) {
  Ends pipe = Pipe();
  ExpectInChild([&] {
    RefuseToOpen(/*is_old=*/true);
    LineWriter writer(LogDescriptor::OpenAgain(pipe.writer.fd()));
    // The flag, not that of the own pipe, which older kernels ignore.
    ::brood::testing::RefuseArgument({SYS_splice, /*index=*/5,
                                      SPLICE_F_NONBLOCK, SPLICE_F_NONBLOCK,
                                      /*if_equal=*/false, EIO});
    if (!writer.Write("hello\n") || Drain(pipe.reader) != "hello\n") {
      return false;
    }
    RefuseCalls({SYS_splice}, EAGAIN);
    return !writer.Write("hello\n") && Drain(pipe.reader).empty();
  });
}

// The terminal of another user has no call that never waits, so the room in it
// decides. A writer that waits would not end.
TEST_F(ForeignPipeTest, IsNotWaitedForIfItIsATerminal) {
  ExpectInChild([] {
    const int user = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (user < 0 || grantpt(user) < 0 || unlockpt(user) < 0) return true;
    const int terminal = open(ptsname(user), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) return true;
    RefuseToOpen(/*is_old=*/false);
    LineWriter writer(LogDescriptor::OpenAgain(terminal));
    const std::string line(300, 'x');
    int taken = 0;
    while (taken < 100000 && writer.Write(absl::StrCat(line, "\n"))) ++taken;
    return taken > 0 && taken < 100000;
  });
}

}  // namespace
}  // namespace brood::server

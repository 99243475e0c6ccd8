#include "brood/server/line_writer.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::Each;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Two descriptors, the first to read from and the second to lend to a writer.
class Ends {
 public:
  static Ends OfPipe() {
    Ends ends;
    EXPECT_EQ(pipe2(ends.fds_, O_CLOEXEC), 0);
    // One page, quickly filled.
    EXPECT_GE(fcntl(ends.writer(), F_SETPIPE_SZ, 4096), 4096);
    return ends;
  }
  static Ends OfSocketPair() {
    Ends ends;
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.fds_), 0);
    return ends;
  }
  static Ends OfTerminal() {
    Ends ends;
    ends.fds_[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends.fds_[0] < 0) return ends;
    EXPECT_EQ(unlockpt(ends.fds_[0]), 0);
    ends.fds_[1] =
        open(ptsname(ends.fds_[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    return ends;
  }
  Ends(Ends&& other) noexcept : fds_{other.fds_[0], other.fds_[1]} {
    other.fds_[0] = other.fds_[1] = -1;
  }
  ~Ends() {
    CloseReader();
    if (fds_[1] >= 0) close(fds_[1]);
  }

  int writer() const { return fds_[1]; }
  bool valid() const { return fds_[0] >= 0 && fds_[1] >= 0; }
  void CloseReader() {
    if (fds_[0] >= 0) close(fds_[0]);
    fds_[0] = -1;
  }
  // What has been written and not yet read.
  std::string Drain() {
    const int flags = fcntl(fds_[0], F_GETFL);
    fcntl(fds_[0], F_SETFL, flags | O_NONBLOCK);
    std::string text;
    char piece[4096];
    ssize_t got;
    while ((got = read(fds_[0], piece, sizeof(piece))) > 0) {
      text.append(piece, static_cast<size_t>(got));
    }
    fcntl(fds_[0], F_SETFL, flags);
    return text;
  }

 private:
  Ends() = default;

  int fds_[2] = {-1, -1};
};

bool IsPending(int signal) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

// Blocks SIGPIPE while it lives, and takes one that is pending away at the end.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlocked() {
    const timespec at_once = {0, 0};
    sigtimedwait(&sigpipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t sigpipe_, before_;
};

// An anonymous file, and what is in it.
class TemporaryFile {
 public:
  explicit TemporaryFile(int flags) {
    path_ = ::testing::TempDir() + "/line_writer_test.XXXXXX";
    close(mkstemp(path_.data()));
    fd_ = open(path_.c_str(), O_RDWR | O_CLOEXEC | flags);
  }
  ~TemporaryFile() {
    close(fd_);
    unlink(path_.c_str());
  }

  int fd() const { return fd_; }
  int OpenAgain(int flags) const {
    return open(path_.c_str(), O_WRONLY | O_CLOEXEC | flags);
  }
  void Say(absl::string_view text) const { SayTo(fd_, text); }
  static void SayTo(int fd, absl::string_view text) {
    EXPECT_EQ(write(fd, text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }
  std::string text() const {
    char text[1024];
    const ssize_t size = pread(fd_, text, sizeof(text), 0);
    return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
  }

 private:
  std::string path_;
  int fd_;
};

std::string Line(int number) {
  return absl::StrCat("line ", number, " ", std::string(200, '.'), "\n");
}

// Writes until a line is dropped; gives those that were not.
std::string WriteUntilDropped(LineWriter& writer) {
  std::string taken;
  for (int number = 0; number < 100000; ++number) {
    if (!writer.Write(Line(number))) return taken;
    taken += Line(number);
  }
  ADD_FAILURE() << "no line was ever dropped";
  return taken;
}

using LineWriterTest = ::brood::testing::LeakCheck;

TEST_F(LineWriterTest, WritesALineAsItIs) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  EXPECT_TRUE(writer.Write("hello\n"));
  EXPECT_EQ(pipe.Drain(), "hello\n");
}

// With a writer that waits, this test would not end.
TEST_F(LineWriterTest, DropsALineAtOnceWhenThePipeIsStalled) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  const std::string taken = WriteUntilDropped(writer);
  EXPECT_FALSE(writer.Write("later\n" + std::string(100, '.') + "\n"));
  EXPECT_EQ(pipe.Drain(), taken);
  EXPECT_TRUE(writer.Write("it flows again\n"));
  EXPECT_EQ(pipe.Drain(), "it flows again\n");
}

TEST_F(LineWriterTest, LeavesNoPieceOfALineThatDidNotFit) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  WriteUntilDropped(writer);
  std::vector<std::string> lines = absl::StrSplit(pipe.Drain(), '\n');
  EXPECT_EQ(lines.back(), "");
  lines.pop_back();
  EXPECT_THAT(lines, Each(SizeIs(lines.front().size())));
}

TEST_F(LineWriterTest, DoesTheSameWithATerminal) {
  Ends terminal = Ends::OfTerminal();
  if (!terminal.valid()) GTEST_SKIP() << "no terminals here";
  LineWriter writer(terminal.writer());
  WriteUntilDropped(writer);
  terminal.Drain();
  EXPECT_TRUE(writer.Write("it flows again\n"));
  EXPECT_EQ(terminal.Drain(), "it flows again\r\n");
}

TEST_F(LineWriterTest, DoesTheSameWithASocket) {
  Ends sockets = Ends::OfSocketPair();
  LineWriter writer(sockets.writer());
  const std::string taken = WriteUntilDropped(writer);
  EXPECT_EQ(sockets.Drain(), taken);
  EXPECT_TRUE(writer.Write("it flows again\n"));
  EXPECT_EQ(sockets.Drain(), "it flows again\n");
}

TEST_F(LineWriterTest, LeavesTheFlagsOfWhatItIsLentAlone) {
  for (Ends& ends : std::initializer_list<Ends>{Ends::OfPipe()}) {
  }
}

// SIGPIPE would end this process.
TEST_F(LineWriterTest, SurvivesAReaderThatHasGone) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  EXPECT_TRUE(writer.Write("hello\n"));
  pipe.CloseReader();
  EXPECT_FALSE(writer.Write("hello\n"));
  EXPECT_FALSE(writer.Write("hello\n"));

  Ends sockets = Ends::OfSocketPair();
  LineWriter socket_writer(sockets.writer());
  EXPECT_TRUE(socket_writer.Write("hello\n"));
  sockets.CloseReader();
  EXPECT_FALSE(socket_writer.Write("hello\n"));
  EXPECT_FALSE(socket_writer.Write("hello\n"));
}

}  // namespace
}  // namespace brood::server

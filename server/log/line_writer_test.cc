// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/line_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

// Ends are two descriptors: the first to read from, the second to lend to a
// writer.
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
    ends.fds_[1] = open(ptsname(ends.fds_[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
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
  // Waits for the next bytes, and returns them.
  std::string Read() {
    pollfd waiting = {fds_[0], POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 10000), 1);
    return Drain();
  }
  // Returns what has been written and not yet read.
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

// SigpipeHandled gives SIGPIPE another disposition, or blocks it, while an
// object lives.
class SigpipeHandled {
 public:
  explicit SigpipeHandled(void (*handler)(int)) {
    struct sigaction action = {};
    action.sa_handler = handler;
    sigaction(SIGPIPE, &action, &before_);
  }
  ~SigpipeHandled() { sigaction(SIGPIPE, &before_, nullptr); }

 private:
  struct sigaction before_;
};

class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlocked() {
    TakePending();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  // Returns whether a SIGPIPE was pending, and removes it.
  bool TakePending() {
    const timespec at_once = {0, 0};
    return sigtimedwait(&sigpipe_, nullptr, &at_once) == SIGPIPE;
  }

 private:
  sigset_t sigpipe_, before_;
};

// NoMoreDescriptors lets the process open no descriptor while an object lives.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int next = dup(STDIN_FILENO);
    close(next);
    const rlimit none_left = {static_cast<rlim_t>(next), before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none_left);
  }
  ~NoMoreDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

void WriteTo(int fd, absl::string_view text) {
  EXPECT_EQ(write(fd, text.data(), text.size()),
            static_cast<ssize_t>(text.size()));
}

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
  // Appends `text` through another open file, as a program does that shares
  // nothing with this one.
  void AppendByAnother(absl::string_view text) const {
    const int fd = open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    WriteTo(fd, text);
    close(fd);
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

// Returns a line so long that a full pipe soon has room for a part of it, and
// not for all.
std::string Line(int number) {
  return absl::StrCat("line ", number, " ", std::string(200, '.'), "\n");
}

// Writes until a line is dropped. Returns the lines that were written.
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

// With a writer that waits, this test and the next two would not end.
TEST_F(LineWriterTest, DropsWholeLinesWhileAPipeIsStalled) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  const std::string taken = WriteUntilDropped(writer);
  EXPECT_FALSE(writer.Write(Line(1)));
  EXPECT_EQ(pipe.Drain(), taken);
  EXPECT_TRUE(writer.Write("it flows again\n"));
  EXPECT_EQ(pipe.Drain(), "it flows again\n");
}

// A line longer than PIPE_BUF: the kernel takes as much as there is room for.
TEST_F(LineWriterTest, ReportsALineAsDroppedIfOnlyAPartWasWritten) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  EXPECT_FALSE(writer.Write(std::string(100000, '.') + "\n"));
  EXPECT_NE(pipe.Drain(), "");
}

TEST_F(LineWriterTest, DropsLinesWhileASocketIsStalled) {
  Ends sockets = Ends::OfSocketPair();
  LineWriter writer(sockets.writer());
  const std::string taken = WriteUntilDropped(writer);
  EXPECT_EQ(sockets.Drain(), taken);
  EXPECT_TRUE(writer.Write("it flows again\n"));
  EXPECT_EQ(sockets.Drain(), "it flows again\n");
}

TEST_F(LineWriterTest, DropsLinesWhileATerminalIsStalled) {
  Ends terminal = Ends::OfTerminal();
  if (!terminal.valid()) GTEST_SKIP() << "no terminals here";
  LineWriter writer(terminal.writer());
  WriteUntilDropped(writer);
  std::string text;
  for (bool flows = false; !absl::EndsWith(text, "it flows again\r\n");) {
    const std::string more = terminal.Read();
    ASSERT_NE(more, "");
    text += more;
    if (!flows) flows = writer.Write("it flows again\n");
  }
}

// A process may have no descriptor left to open the pipe again. Then the room
// in the pipe decides.
TEST_F(LineWriterTest, NeverWaitsWithoutADescriptorOfItsOwnEither) {
  Ends pipe = Ends::OfPipe();
  absl::optional<NoMoreDescriptors> shortage;
  shortage.emplace();
  LineWriter writer(pipe.writer());
  shortage.reset();
  ASSERT_EQ(writer.own_fd(), -1);
  const std::string taken = WriteUntilDropped(writer);
  EXPECT_NE(taken, "");
  EXPECT_EQ(pipe.Drain(), taken);
  EXPECT_TRUE(writer.Write("it flows again\n"));
  EXPECT_EQ(pipe.Drain(), "it flows again\n");
  pipe.CloseReader();
  EXPECT_FALSE(writer.Write("hello\n"));
}

// The flags are shared with the user's shell, which does not work with
// O_NONBLOCK.
TEST_F(LineWriterTest, LeavesTheFlagsOfALentDescriptorAlone) {
  for (Ends (*make)() : {Ends::OfPipe, Ends::OfSocketPair, Ends::OfTerminal}) {
    Ends ends = make();
    if (!ends.valid()) continue;
    const int before = fcntl(ends.writer(), F_GETFL);
    ASSERT_EQ(before & O_NONBLOCK, 0);
    LineWriter writer(ends.writer());
    WriteUntilDropped(writer);
    EXPECT_EQ(fcntl(ends.writer(), F_GETFL), before);
  }
}

TEST_F(LineWriterTest, OpensOnlyPipesAgainAndKeepsThemFromPrograms) {
  Ends pipe = Ends::OfPipe();
  const LineWriter of_pipe(pipe.writer());
  ASSERT_GE(of_pipe.own_fd(), 0);
  EXPECT_NE(of_pipe.own_fd(), pipe.writer());
  EXPECT_EQ(fcntl(of_pipe.own_fd(), F_GETFD), FD_CLOEXEC);

  Ends sockets = Ends::OfSocketPair();
  EXPECT_EQ(LineWriter(sockets.writer()).own_fd(), -1);
  TemporaryFile file(0);
  EXPECT_EQ(LineWriter(file.fd()).own_fd(), -1);
}

// SIGPIPE would end this process.
TEST_F(LineWriterTest, SurvivesAReaderThatHasGone) {
  for (Ends (*make)() : {Ends::OfPipe, Ends::OfSocketPair}) {
    Ends ends = make();
    LineWriter writer(ends.writer());
    EXPECT_TRUE(writer.Write("hello\n"));
    ends.CloseReader();
    EXPECT_FALSE(writer.Write("hello\n"));
    EXPECT_FALSE(writer.Write("hello\n"));
  }
}

TEST_F(LineWriterTest, SurvivesAReaderThatWasNeverThere) {
  for (Ends (*make)() : {Ends::OfPipe, Ends::OfSocketPair}) {
    Ends ends = make();
    ends.CloseReader();
    LineWriter writer(ends.writer());
    EXPECT_FALSE(writer.Write("hello\n"));
  }
}

TEST_F(LineWriterTest, RaisesNoSigpipeWhateverTheProcessDoesWithIt) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  pipe.CloseReader();
  {
    const SigpipeHandled handled(
        [](int /*signal*/) { ADD_FAILURE() << "SIGPIPE was raised"; });
    EXPECT_FALSE(writer.Write("hello\n"));
  }
  {
    const SigpipeHandled ignored(SIG_IGN);
    EXPECT_FALSE(writer.Write("hello\n"));
  }
  SigpipeBlocked blocked;
  EXPECT_FALSE(writer.Write("hello\n"));
  EXPECT_FALSE(blocked.TakePending());
}

TEST_F(LineWriterTest, LeavesAPendingSigpipeAlone) {
  Ends pipe = Ends::OfPipe();
  LineWriter writer(pipe.writer());
  pipe.CloseReader();
  SigpipeBlocked blocked;
  raise(SIGPIPE);
  EXPECT_FALSE(writer.Write("hello\n"));
  EXPECT_TRUE(blocked.TakePending());
}

TEST_F(LineWriterTest, DropsALineThatADeviceRefuses) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  {
    LineWriter writer(full);
    EXPECT_FALSE(writer.Write("hello\n"));
  }
  close(full);
}

TEST_F(LineWriterTest, DropsEveryLineOfAClosedDescriptor) {
  const int closed = dup(STDIN_FILENO);
  close(closed);
  for (int fd : {closed, -1}) {
    LineWriter writer(fd);
    EXPECT_FALSE(writer.Write("hello\n"));
    EXPECT_EQ(writer.own_fd(), -1);
  }
}

TEST_F(LineWriterTest, NeverWritesToAFileThatGetsAClosedNumberLater) {
  Ends pipe = Ends::OfPipe();
  const int number = dup(STDIN_FILENO);
  close(number);
  LineWriter writer(number);
  ASSERT_EQ(fcntl(pipe.writer(), F_DUPFD_CLOEXEC, number), number);
  EXPECT_FALSE(writer.Write("hello\n"));
  EXPECT_EQ(pipe.Drain(), "");
  close(number);
}

TEST_F(LineWriterTest, AppendsToAFileThatWasOpenedToAppend) {
  TemporaryFile log(O_APPEND);
  log.AppendByAnother("of yesterday\n");
  LineWriter writer(log.fd());
  EXPECT_TRUE(writer.Write("of ours\n"));
  log.AppendByAnother("of another\n");
  EXPECT_TRUE(writer.Write("of ours again\n"));
  EXPECT_EQ(log.text(), "of yesterday\nof ours\nof another\nof ours again\n");
}

// The shell opens such a file for `2>log`: each process that inherits it writes
// where the last write ended.
TEST_F(LineWriterTest, WritesAtTheSharedPositionOfAnyOtherFile) {
  TemporaryFile log(0);
  WriteTo(log.fd(), "of the shell\n");
  LineWriter writer(log.fd());
  EXPECT_TRUE(writer.Write("of ours\n"));
  WriteTo(log.fd(), "of the shell\n");
  EXPECT_TRUE(writer.Write("of ours again\n"));
  EXPECT_EQ(log.text(), "of the shell\nof ours\nof the shell\nof ours again\n");
}

}  // namespace
}  // namespace brood::server

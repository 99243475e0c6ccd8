// SPDX-License-Identifier: Apache-2.0
//
// Attacks on the log: rows A9 and A10. Whatever a child does to its standard
// error, or to the limits of the server, the server serves, does not wait, and
// goes on writing its own lines.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/server/options.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using net::UniqueFd;

class LogAttacksTest : public AttackTest {
 protected:
  using Attack = std::function<void(TakenOverChild&)>;

  // Returns a setup that logs each connection to `fd`.
  static TestServer::Setup LogTo(int fd) {
    TestServer::Setup setup = AttackSetup();
    setup.options.log.level = server::LogLevel::kInfo;
    setup.stderr_fd = fd;
    return setup;
  }
  // Runs `attack` on a server whose log is a file that was opened with `flags`,
  // and expects that later ends of connections are logged.
  void AttackFile(const std::string& name, int flags, const Attack& attack);
  // Does the same with a log that the test reads from `read_end` of a pipe or
  // socket.
  void AttackStream(const std::string& name, UniqueFd read_end,
                    UniqueFd write_end, const Attack& attack);
  // Expects that at least half of `kLogged` connections are in `lines`, so that
  // the log is not silenced.
  static void ExpectEndsIn(const std::string& name, const std::string& lines,
                           bool may_have_holes = false);

  static constexpr int kLogged = 10;
};

INSTANTIATE_TEST_SUITE_P(With, LogAttacksTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

// Reads all that can be read without waiting.
std::string ReadAll(int fd) {
  std::string text;
  char bytes[4096];
  for (;;) {
    const ssize_t size = read(fd, bytes, sizeof(bytes));
    if (size <= 0) return text;
    text.append(bytes, static_cast<size_t>(size));
  }
}

void LogAttacksTest::ExpectEndsIn(const std::string& name,
                                  const std::string& lines,
                                  bool may_have_holes) {
  int ends = 0;
  for (const absl::string_view line : absl::StrSplit(lines, '\n')) {
    if (LoggedEvent::IsLineOf("ended", line)) ++ends;
  }
  // A buffer that a child has made small holds few lines while it is not
  // read: the others are dropped and counted.
  EXPECT_GE(ends, kLogged / 2) << name;
  if (!may_have_holes) {
    EXPECT_EQ(lines.find('\0'), std::string::npos) << name;
  }
  std::cout << name << " " << row().name() << ": " << ends << " of " << kLogged
            << " ends logged after it\n";
}

void LogAttacksTest::AttackFile(const std::string& name, int flags,
                                const Attack& attack) {
  std::string path = absl::StrCat(getenv("TEST_TMPDIR"), "/log.XXXXXX");
  UniqueFd::Adopt(mkstemp(path.data()));
  chmod(path.c_str(), 0666);
  const UniqueFd log =
      UniqueFd::Adopt(open(path.c_str(), O_RDWR | O_CLOEXEC | flags));
  const auto server = StartVictim(name, LogTo(log.fd()));
  TakenOverChild child = TakeOver(*server);
  attack(child);
  child.Exit(0);
  EXPECT_FALSE(child.Syscall(SYS_getpid).ok());
  AwaitIdle(server->pid());
  // Not by lseek(), which would change the server's position as well.
  struct stat before = {};
  EXPECT_EQ(fstat(log.fd(), &before), 0);
  EXPECT_EQ(ServeClients(*server, kLogged), kLogged);
  ExpectHarmless(*server);
  // If the child has truncated the file, it contains nothing else.
  std::string lines(1 << 20, ' ');
  // Not by `log`, because the child may have changed its flags.
  const UniqueFd reader =
      UniqueFd::Adopt(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t length =
      pread(reader.fd(), lines.data(), lines.size(), before.st_size);
  lines.resize(static_cast<size_t>(std::max<ssize_t>(length, 0)));
  // Without O_APPEND the server writes at a position of its own.
  ExpectEndsIn(name, lines, (flags & O_APPEND) == 0);
  unlink(path.c_str());
}

void LogAttacksTest::AttackStream(const std::string& name, UniqueFd read_end,
                                  UniqueFd write_end, const Attack& attack) {
  ASSERT_EQ(fcntl(read_end.fd(), F_SETFL, O_RDONLY | O_NONBLOCK), 0);
  const auto server = StartVictim(name, LogTo(write_end.fd()));
  TakenOverChild child = TakeOver(*server);
  attack(child);
  child.Exit(0);
  EXPECT_FALSE(child.Syscall(SYS_getpid).ok());
  AwaitIdle(server->pid());
  ReadAll(read_end.fd());
  std::string lines;
  // A small buffer has room for the lines of one connection.
  for (int i = 0; i < kLogged; ++i) {
    EXPECT_EQ(ServeClients(*server, 1), 1);
    EXPECT_TRUE(Await([&] {
      lines += ReadAll(read_end.fd());
      return server->zombies().empty();
    }));
    AwaitIdle(server->pid());
    lines += ReadAll(read_end.fd());
  }
  ExpectHarmless(*server, kLogged);
  lines += ReadAll(read_end.fd());
  ExpectEndsIn(name, lines);
}

struct Ends {
  UniqueFd read_end, write_end;
};

Ends Pipe() {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  return {UniqueFd::Adopt(fds[0]), UniqueFd::Adopt(fds[1])};
}

Ends SocketPair() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd::Adopt(fds[0]), UniqueFd::Adopt(fds[1])};
}

// The hard limit cannot be raised again.
TEST_P(LogAttacksTest, LimitTheFilesOfTheServer) {
  std::string path = absl::StrCat(getenv("TEST_TMPDIR"), "/log.XXXXXX");
  const UniqueFd log = UniqueFd::Adopt(mkstemp(path.data()));
  const auto server = StartVictim("A9 prlimit FSIZE=0", LogTo(log.fd()));
  TakenOverChild child = TakeOver(*server);
  const rlimit none = {0, 0};
  const TakenOverChild::Result limited = child.Syscall(
      SYS_prlimit64, server->pid(), RLIMIT_FSIZE, child.PutValue(none), 0);
  std::cout << "A9: prlimit of the parent "
            << (limited.ok() ? "succeeds" : "fails") << "\n";
  child.Exit(0);
  ExpectHarmless(*server);
  unlink(path.c_str());
}

TEST_P(LogAttacksTest, TruncateTheFile) {
  const auto truncate = [](TakenOverChild& child) {
    child.Syscall(SYS_ftruncate, STDERR_FILENO, 0);
  };
  AttackFile("A10 ftruncate, O_APPEND", O_APPEND, truncate);
  AttackFile("A10 ftruncate", 0, truncate);
}

TEST_P(LogAttacksTest, SetFlagsOfTheFile) {
  AttackFile("A10 O_DIRECT", O_APPEND, [](TakenOverChild& child) {
    child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETFL, O_DIRECT | O_APPEND);
  });
  AttackFile("A10 without O_APPEND", O_APPEND, [](TakenOverChild& child) {
    child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETFL, 0);
    child.Syscall(SYS_lseek, STDERR_FILENO, 0, SEEK_SET);
  });
}

TEST_P(LogAttacksTest, ChangeThePipe) {
  for (const auto& [name, attack] : std::vector<std::pair<std::string, Attack>>{
           {"A10 pipe: O_NONBLOCK",
            [](TakenOverChild& child) {
              child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETFL, O_NONBLOCK);
            }},
           {"A10 pipe: O_DIRECT",
            [](TakenOverChild& child) {
              child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETFL, O_DIRECT);
            }},
           {"A10 pipe: F_SETPIPE_SZ",
            [](TakenOverChild& child) {
              child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETPIPE_SZ, 4096);
            }},
           {"A10 pipe: filled", [](TakenOverChild& child) {
              const uint64_t bytes = child.Put(std::string(1000, 'x'));
              child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETFL, O_NONBLOCK);
              child.Repeat(1000, SYS_write, STDERR_FILENO, bytes, 1000);
            }}}) {
    Ends ends = Pipe();
    AttackStream(name, std::move(ends.read_end), std::move(ends.write_end),
                 attack);
  }
}

TEST_P(LogAttacksTest, ChangeTheSocket) {
  for (const auto& [name, attack] : std::vector<std::pair<std::string, Attack>>{
           {"A10 socket: O_NONBLOCK",
            [](TakenOverChild& child) {
              child.Syscall(SYS_fcntl, STDERR_FILENO, F_SETFL, O_NONBLOCK);
            }},
           {"A10 socket: SO_SNDBUF", [](TakenOverChild& child) {
              child.Syscall(SYS_setsockopt, STDERR_FILENO, SOL_SOCKET,
                            SO_SNDBUF, child.PutValue(int{1}), sizeof(int));
            }}}) {
    Ends ends = SocketPair();
    AttackStream(name, std::move(ends.read_end), std::move(ends.write_end),
                 attack);
  }
}

// Binds a new socket to `path`, to which any user may connect. Returns it.
UniqueFd BindTo(const std::string& path, int type, sockaddr_un* name) {
  *name = {};
  name->sun_family = AF_UNIX;
  path.copy(name->sun_path, sizeof(name->sun_path) - 1);
  UniqueFd bound =
      UniqueFd::Adopt(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_EQ(
      bind(bound.fd(), reinterpret_cast<const sockaddr*>(name), sizeof(*name)),
      0);
  chmod(path.c_str(), 0777);
  return bound;
}

// The server can connect a datagram socket again. A stream socket can be
// silenced, unless it is that of systemd's journal; the server serves all the
// same.
TEST_P(LogAttacksTest, ShutTheSocketDown) {
  for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
    const ShortDir directory;
    chmod(directory.path().c_str(), 0777);
    sockaddr_un name;
    const UniqueFd reader = BindTo(directory.File("log"), type, &name);
    if (type == SOCK_STREAM) {
      ASSERT_EQ(listen(reader.fd(), 10), 0);
    }
    const UniqueFd log =
        UniqueFd::Adopt(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(log.fd(), reinterpret_cast<const sockaddr*>(&name),
                      sizeof(name)),
              0);
    const UniqueFd stream = UniqueFd::Adopt(
        accept4(reader.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const int read_from = type == SOCK_STREAM ? stream.fd() : reader.fd();

    const std::string attack = type == SOCK_STREAM
                                   ? "A10 shutdown of a stream"
                                   : "A10 shutdown of a datagram socket";
    const auto server = StartVictim(attack, LogTo(log.fd()));
    for (const int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
      TakenOverChild child = TakeOver(*server);
      child.Syscall(SYS_shutdown, STDERR_FILENO, how);
      child.Exit(0);
      EXPECT_FALSE(child.Syscall(SYS_getpid).ok());
    }
    AwaitIdle(server->pid());
    ReadAll(read_from);
    std::string lines;
    // The kernel keeps ten datagrams.
    for (int i = 0; i < kLogged; ++i) {
      EXPECT_EQ(ServeClients(*server, 1), 1);
      AwaitIdle(server->pid());
      lines += ReadAll(read_from);
    }
    ExpectHarmless(*server);
    lines += ReadAll(read_from);
    if (type == SOCK_STREAM) {
      std::cout << attack << " " << row().name() << ": the log "
                << (lines.empty() ? "is silent" : "goes on") << "\n";
    } else {
      ExpectEndsIn(attack, lines);
    }
  }
}

// Returns whether the process `pid` is in a call of write().
bool IsWriting(pid_t pid) {
  return absl::StartsWith(ReadProcFile(absl::StrCat("/proc/", pid, "/syscall")),
                          absl::StrCat(SYS_write, " "));
}

// Forks a process that reads 4096 bytes of `fd` every 20 ms, until the end.
void ReadSlowly(int fd) {
  const pid_t pid = fork();
  if (pid != 0) return;
  char bytes[4096];
  while (read(fd, bytes, sizeof(bytes)) >= 0) LetPass(absl::Milliseconds(20));
  _exit(0);
}

// The server cannot open the pipe again, as if it belonged to another user.
// Children that wait for room in the pipe fill it at once.
TEST_P(LogAttacksTest, FillThePipeThatIsReadSlowly) {
  constexpr int kWriters = 20;
  Ends ends = Pipe();
  ASSERT_EQ(fchmod(ends.write_end.fd(), 0), 0);
  TestServer::Setup setup = LogTo(ends.write_end.fd());
  setup.options.pool.workers = kWriters + kWorkers;
  const auto server =
      StartVictim("A10 slow reader, children write", std::move(setup));
  std::vector<TakenOverChild> writers = TakeOverMany(*server, kWriters);
  for (TakenOverChild& writer : writers) {
    const uint64_t bytes = writer.Put(std::string(4096, 'x'));
    writer.Flood(SYS_write, STDERR_FILENO, bytes, 4096);
  }
  ReadSlowly(ends.read_end.fd());
  // A client may wait for its child, which logs as well. So this test observes
  // the parent, which has lines to write for each client.
  const net::Instant from = net::Now();
  net::Instant writes_since = from;
  absl::Duration longest;
  while (net::Now() - from < std::chrono::seconds(3)) {
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Send("e"), IsOk());
    client.Reset();
    if (!IsWriting(server->pid())) writes_since = net::Now();
    longest = std::max(longest, absl::FromChrono(net::Now() - writes_since));
  }
  std::cout << "A10 slow reader, " << row().name()
            << ": the parent waited for the log for " << longest << "\n";
  // The parent must not wait at all; the rest is for a busy machine.
  EXPECT_LT(longest, absl::Milliseconds(90));
  writers.clear();
  ExpectClean(StopInTime(*server));
}

}  // namespace
}  // namespace brood::testing

#include "brood/server/log/event_log.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"
#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

const net::Instant kNow = net::Instant() + std::chrono::hours(1000);
constexpr absl::Duration kPause = absl::Milliseconds(20);

net::PeerAddress Peer() {
  return net::Endpoint::Parse("192.0.2.7:50112")->ToAddress();
}
net::Endpoint Here() { return *net::Endpoint::Parse("[::1]:7000"); }

proc::ExitStatus Exited(int code) {
  return proc::ExitStatus::FromWait(W_EXITCODE(code, 0), rusage());
}
proc::ExitStatus KilledBy(int signal) {
  return proc::ExitStatus::FromWait(W_EXITCODE(0, signal), rusage());
}

// Standard error leads elsewhere while this lives; gtest prints to standard
// output.
class Stderr {
 public:
  // To a socket that keeps writes apart: what is read is one write.
  static Stderr ToPackets() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    return Stderr(fds);
  }
  // To a pipe with room for a few lines.
  static Stderr ToPipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    EXPECT_GE(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
    return Stderr(fds);
  }
  Stderr(const Stderr&) = delete;
  ~Stderr() {
    dup2(before_, STDERR_FILENO);
    close(before_);
    close(reader_);
  }

  // Each write since the last call, without the process's name for itself.
  std::vector<std::string> Writes() const {
    std::vector<std::string> writes;
    char text[65536];
    ssize_t got;
    while ((got = read(reader_, text, sizeof(text))) > 0) {
      writes.emplace_back(text, static_cast<size_t>(got));
    }
    EXPECT_EQ(errno, EAGAIN);
    return writes;
  }
  // Each whole line since the last call.
  std::vector<std::string> Lines() const {
    std::string text;
    for (const std::string& write : Writes()) text += write;
    if (text.empty()) return {};
    EXPECT_EQ(text.back(), '\n');
    text.pop_back();
    return absl::StrSplit(text, '\n');
  }

 private:
  explicit Stderr(const int (&fds)[2])
      : reader_(fds[0]), before_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) {
    EXPECT_EQ(fcntl(reader_, F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
  }

  const int reader_;
  const int before_;
};

std::string Own(absl::string_view rest, pid_t pid = getpid()) {
  return absl::StrCat("brood[", pid, "] ", rest);
}

// Says something until the pipe is full; gives how many lines went through.
int FillPipe(EventLog& log) {
  const uint64_t before = log.dropped();
  for (int said = 0; said < 10000; ++said) {
    if (log.dropped() > before) return said - 1;
    log.Killing(1);
  }
  ADD_FAILURE() << "the pipe is never full";
  return 0;
}

// Each event once, in the order of the header.
void SayEverything(EventLog& log) {
  Totals unbalanced;
  unbalanced.accepted = 1;
  log.Listening(Here());
  log.ExitQueueShort(100, 1000);
  log.UpgradeStarted(4713, "/opt/server");
  log.UpgradeIgnored("one is in flight");
  log.SuccessorReady(4713);
  log.HandedOver(4713);
  log.UpgradeFailed(4713, absl::AbortedError("exited with code 1"), 2);
  log.UpgradeFailed(0, absl::NotFoundError("posix_spawn /opt/server"), 3);
  log.Draining(2, absl::Milliseconds(10500));
  log.Terminating(2);
  log.Killing(1);
  log.Stopped(Totals());
  log.Stopped(unbalanced);
  log.Forked(4711, Peer(), 3, 1000);
  log.Handling(Peer());
  log.Ended(4711, Peer(), Exited(0), false, absl::Milliseconds(1500), 2, 1000);
  log.Ended(4711, Peer(), Exited(42), false, absl::Seconds(1), 2, 1000);
  log.Ended(4711, Peer(), KilledBy(SIGSEGV), false, absl::Seconds(1), 2, 1000);
  log.Ended(4711, Peer(), KilledBy(SIGTERM), true, absl::Seconds(1), 2, 1000);
  log.Ended(4711, Peer(), proc::ExitStatus::Unknown(), false, absl::Seconds(1),
            2, 1000);
  log.ForkFailed(Peer(), absl::UnavailableError("clone: try again"), kPause,
                 kNow);
  log.AcceptPaused(Here(), EMFILE, kPause, kNow);
  log.AcceptFailed(Here(), ECONNABORTED, kNow);
  log.ListenerDead(Here(), EBADF);
  log.CallFailed("poll", ENOMEM, kNow);
}

using EventLogTest = ::brood::testing::LeakCheck;

TEST_F(EventLogTest, SaysEachEventInOneLineByOneWrite) {
  const Stderr captured = Stderr::ToPackets();
  EventLog log(LogLevel::kInfo);
  SayEverything(log);
  EXPECT_THAT(
      captured.Writes(),
      ElementsAre(
          Own("info: listening on [::1]:7000\n"),
          Own("warning: the limit of pending signals (ulimit -i 100) is below "
              "the cap of 1000 connections: when many end at once, some are "
              "found late\n"),
          Own("info: upgrade: started pid 4713 from /opt/server\n"),
          Own("warning: upgrade: ignored, one is in flight\n"),
          Own("info: upgrade: pid 4713 is ready and accepts\n"),
          Own("info: upgrade: pid 4713 has taken over\n"),
          Own("error: upgrade failed, and this program serves on: pid 4713: "
              "exited with code 1 (2 failed so far)\n"),
          Own("error: upgrade failed, and this program serves on: "
              "posix_spawn /opt/server (3 failed so far)\n"),
          Own("info: draining: 2 running, to be terminated in 10.5 s\n"),
          Own("warning: terminating 2 children\n"),
          Own("warning: killing 1 children\n"),
          Own("info: stopped: accepted 0 = running 0 + ended_ok 0 + "
              "ended_error 0 + crashed 0 + killed 0 + unknown 0 + shed 0 + "
              "fork_failed 0; log lines dropped 0\n"),
          StartsWith(Own("error: stopped, UNBALANCED: accepted 1 = running 0")),
          Own("info: forked pid 4711 to handle 192.0.2.7:50112 (3 of 1000)\n"),
          Own("info: child, handling 192.0.2.7:50112\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 exited with code 0 "
              "(served) after 1.500000 s (2 of 1000)\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 exited with code 42 "
              "after 1.000000 s (2 of 1000)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 killed by SIGSEGV "
              "(Segmentation fault) after 1.000000 s (2 of 1000)\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 killed by SIGTERM "
              "(Terminated) after 1.000000 s (2 of 1000)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 ended, nobody knows "
              "how after 1.000000 s (2 of 1000)\n"),
          Own("error: no process for 192.0.2.7:50112, closed: clone: try "
              "again; accepting again in 0.020 s (0 lines like this kept "
              "back)\n"),
          Own("warning: accept on [::1]:7000: Too many open files; accepting "
              "again in 0.020 s or when a child ends (0 lines like this kept "
              "back)\n"),
          Own("warning: accept on [::1]:7000: Software caused connection "
              "abort; trying the next (0 lines like this kept back)\n"),
          Own("error: accept on [::1]:7000: Bad file descriptor; this listener "
              "is closed\n"),
          Own("error: poll: Cannot allocate memory; trying again (0 lines like "
              "this kept back)\n")));
}

TEST_F(EventLogTest, TellsTheWholeAccountAtTheEnd) {
  const Stderr captured = Stderr::ToPackets();
  Totals totals;
  totals.accepted = 36;
  totals.running = 1;
  totals.ended_ok = 2;
  totals.ended_error = 3;
  totals.crashed = 4;
  totals.killed = 5;
  totals.unknown = 6;
  totals.shed = 7;
  totals.fork_failed = 8;
  EventLog(LogLevel::kInfo).Stopped(totals);
  EXPECT_THAT(captured.Writes(),
              ElementsAre(HasSubstr(
                  "stopped: accepted 36 = running 1 + ended_ok 2 + ended_error "
                  "3 + crashed 4 + killed 5 + unknown 6 + shed 7 + fork_failed "
                  "8; log lines dropped 0")));
}

TEST_F(EventLogTest, SaysWhatItsLevelAsksForAndNoMore) {
  const Stderr captured = Stderr::ToPackets();
  const std::pair<LogLevel, std::vector<std::string>> kLevels[] = {
      {LogLevel::kInfo, {"info", "warning", "error"}},
      {LogLevel::kWarning, {"warning", "error"}},
      {LogLevel::kError, {"error"}},
      {LogLevel::kOff, {}},
  };
  {
    EventLog everything(LogLevel::kInfo);
    SayEverything(everything);
  }
  const std::vector<std::string> all = captured.Writes();
  for (const auto& [level, wanted] : kLevels) {
    std::vector<std::string> expected;
    for (const std::string& line : all) {
      for (const std::string& name : wanted) {
        if (absl::StartsWith(line, Own(name + ":"))) expected.push_back(line);
      }
    }
    EventLog log(level);
    SayEverything(log);
    EXPECT_EQ(captured.Writes(), expected);
    EXPECT_EQ(log.dropped(), 0u);
  }
}

TEST_F(EventLogTest, DropsLinesWhileNobodyReadsAndThenSaysHowMany) {
  const Stderr captured = Stderr::ToPipe();
  EventLog log(LogLevel::kInfo);
  EXPECT_EQ(log.dropped(), 0u);
  const int said = FillPipe(log);
  EXPECT_GT(said, 0);
  for (int i = 0; i < 6; ++i) log.Terminating(2);
  EXPECT_EQ(log.dropped(), 7u);
  EXPECT_THAT(captured.Lines(), SizeIs(said));

  log.Killing(3);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("warning: 7 log lines were dropped"),
                          Own("warning: killing 3 children")));
  log.Killing(4);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("warning: killing 4 children")));
  EXPECT_EQ(log.dropped(), 7u);
}

TEST_F(EventLogTest, CountsFromZeroAfterItHasSaidHowManyAreMissing) {
  const Stderr captured = Stderr::ToPipe();
  EventLog log(LogLevel::kInfo);
  for (uint64_t round = 1; round <= 3; ++round) {
    FillPipe(log);
    EXPECT_EQ(log.dropped(), round);
    captured.Lines();
    log.Killing(1);
    EXPECT_THAT(captured.Lines(),
                ElementsAre(HasSubstr("1 log lines were dropped"),
                            HasSubstr("killing 1 children")));
  }
}

TEST_F(EventLogTest, TellsAtTheEndHowManyLinesWereDropped) {
  const Stderr captured = Stderr::ToPipe();
  EventLog log(LogLevel::kInfo);
  FillPipe(log);
  captured.Lines();
  log.Stopped(Totals());
  EXPECT_THAT(captured.Lines(),
              ElementsAre(HasSubstr("1 log lines were dropped"),
                          EndsWith("; log lines dropped 1")));
}

TEST_F(EventLogTest, CountsADropInAChildInTheParent) {
  const Stderr captured = Stderr::ToPipe();
  EventLog log(LogLevel::kInfo);
  FillPipe(log);
  ASSERT_EQ(log.dropped(), 1u);
  const pid_t child = fork();
  if (child == 0) {
    log.Handling(Peer());
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(log.dropped(), 2u);
  captured.Lines();
  log.Killing(1);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("warning: 2 log lines were dropped"),
                          Own("warning: killing 1 children")));
}

TEST_F(EventLogTest, WritesInAChildUnderTheChildsNameAndWithoutTheParentsFd) {
  const Stderr captured = Stderr::ToPipe();
  EventLog log(LogLevel::kInfo);
  ASSERT_GE(log.own_fd(), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(log.own_fd());
    log.Handling(Peer());
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("info: child, handling 192.0.2.7:50112", child)));
}

// It has no counts, which it must not touch.
TEST_F(EventLogTest, WritesAFailedPreparationOfAChildAtEveryLevel) {
  const Stderr captured = Stderr::ToPipe();
  for (LogLevel level :
       {LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    EventLog log(level);
    const pid_t child = fork();
    if (child == 0) {
      log.NotPrepared(absl::InternalError("no entropy"));
      _exit(0);
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_THAT(
        captured.Lines(),
        ElementsAre(Own("error: child, not prepared: no entropy", child)));
  }
}

TEST_F(EventLogTest, SurvivesWithoutAReader) {
  EventLog* log;
  absl::optional<EventLog> kept;
  {
    const Stderr captured = Stderr::ToPipe();
    log = &kept.emplace(LogLevel::kInfo);
  }
  log->Killing(1);  // to the log's own descriptor of a pipe that nobody reads
  EXPECT_EQ(log->dropped(), 1u);
}

TEST_F(EventLogTest, SaysWhatComesInFloodsOnceASecond) {
  const Stderr captured = Stderr::ToPackets();
  const auto kept_back = [](int count) {
    return HasSubstr(absl::StrCat("(", count, " lines like this kept back)"));
  };
  void (*const kFloods[])(EventLog & log, net::Instant now) = {
      [](EventLog& log, net::Instant now) {
        log.ForkFailed(Peer(), absl::UnavailableError("clone"), kPause, now);
      },
      [](EventLog& log, net::Instant now) {
        log.AcceptPaused(Here(), EMFILE, kPause, now);
      },
      [](EventLog& log, net::Instant now) {
        log.AcceptFailed(Here(), ECONNABORTED, now);
      },
      [](EventLog& log, net::Instant now) {
        log.CallFailed("poll", ENOMEM, now);
      },
  };
  // One log for all: no flood may keep another one quiet.
  EventLog log(LogLevel::kInfo);
  for (const auto& flood : kFloods) {
    for (int ms = 0; ms < 1000; ++ms) {
      flood(log, net::After(kNow, absl::Milliseconds(ms)));
    }
    EXPECT_THAT(captured.Writes(), ElementsAre(kept_back(0)));
    flood(log, net::After(kNow, absl::Seconds(1)));
    EXPECT_THAT(captured.Writes(), ElementsAre(kept_back(999)));
    flood(log, net::After(kNow, absl::Seconds(3)));
    EXPECT_THAT(captured.Writes(), ElementsAre(kept_back(0)));
  }
  EXPECT_EQ(log.dropped(), 0u);
}

TEST_F(EventLogTest, CutsTheEndOfALineThatIsTooLongAndNotItsNewline) {
  const Stderr captured = Stderr::ToPackets();
  EventLog log(LogLevel::kInfo);
  log.ForkFailed(Peer(), absl::UnavailableError(std::string(5000, 'x')), kPause,
                 kNow);
  const std::vector<std::string> writes = captured.Writes();
  ASSERT_THAT(writes, SizeIs(1));
  EXPECT_THAT(writes[0], AllOf(StartsWith(Own("error: no process for")),
                               EndsWith("xxx\n"), SizeIs(1023)));
}

}  // namespace
}  // namespace brood::server

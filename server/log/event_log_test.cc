// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/event_log.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/server/log/every_event.h"
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

// Returns a line of the process `pid`.
std::string Own(absl::string_view rest, pid_t pid = getpid()) {
  return absl::StrCat("brood[", pid, "] ", rest);
}

// Logs until the pipe is full. Returns the number of lines that were written.
int FillPipe(EventLog& log) {
  const uint64_t before = log.dropped();
  for (int logged = 0; logged < 10000; ++logged) {
    if (log.dropped() > before) return logged - 1;
    log.Killing(1);
  }
  ADD_FAILURE() << "the pipe is never full";
  return 0;
}

using EventLogTest = ::brood::testing::LeakCheck;

TEST_F(EventLogTest, WritesEachEventAsOneLineByOneWrite) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(LogLevel::kInfo);
  LogEveryEvent(log);
  EXPECT_THAT(
      captured.Writes(),
      ElementsAre(
          Own("info: listening on [::1]:7000\n"),
          Own("warning: inherited descriptor 3 is closed: it listens on "
              "[::1]:7000, which no entry of listen= names\n"),
          Own("info: the inherited listener on [::1]:7000 serves "
              "listen=[::1]:7000, and accepts more connections than that "
              "names\n"),
          Own("warning: clients do not find the inherited listener on "
              "[::1]:7000: its file has been removed\n"),
          Own("warning: [::1]:7000 is bound again, because clients do not find "
              "the inherited listener: its file has been removed\n"),
          Own("warning: unix_mode is not applied to the inherited listener on "
              "[::1]:7000: chmod /run/x.sock: no\n"),
          Own("warning: no listener is taken from a service manager: "
              "LISTEN_PID=1 is not this process\n"),
          Own("info: inherited: opened descriptor 0\n"),
          Own("info: children are created by clone, because a better way is "
              "refused: clone3: Function not implemented\n"),
          Own("warning: the first child failed, and the server starts "
              "nevertheless: clone: try again\n"),
          Own("warning: the limit of pending signals (ulimit -i 100) is below "
              "the cap of 1000 connections: if many children end at once, "
              "some are reaped late\n"),
          Own("warning: the limit of descriptors (ulimit -n 41) is below the "
              "230 that may be needed (200 for workers, 27 for the server): "
              "workers that do not fit are not created, and clients wait while "
              "no descriptor is free\n"),
          Own("warning: sd_notify READY=1 failed: sendto @x\n"),
          Own("info: draining: 2 running, SIGTERM follows in 10.5 s\n"),
          Own("info: draining: 2 running, without a limit\n"),
          Own("warning: terminating 2 children\n"),
          Own("warning: killing 1 children\n"),
          Own("error: pid 4711 cannot be killed (2 such children): kill 4711; "
              "its slot is kept, and a stop leaves it behind (logged once for "
              "each cause)\n"),
          Own("warning: pid 4711 is dead, and another process traces it and "
              "holds its status: its slot is free (0 similar messages "
              "suppressed)\n"),
          Own("error: 9 children cannot be killed and are left: pid 4711, "
              "4712\n"),
          Own("warning: the grace is over: resetting 3 clients that still "
              "waited in the queue\n"),
          Own("info: stopped: accepted 0 = running 0 + ended_ok 0 + "
              "ended_error 0 + crashed 0 + killed 0 + unknown 0 + shed 0 + "
              "fork_failed 0; log lines dropped 0\n"),
          StartsWith(Own("error: stopped, UNBALANCED: accepted 1 = running 0")),
          Own("info: forked pid 4711 to handle 192.0.2.7:50112 (3 of 1000)\n"),
          Own("info: pid 4711 handles 192.0.2.7:50112 (3 of 1000)\n"),
          Own("info: serving 192.0.2.7:50112\n"),
          Own("error: preparing the child failed, the child exits: no "
              "entropy\n"),
          Own("warning: the handler of 192.0.2.7:50112 threw an exception: no "
              "such table\n"),
          Own("warning: the handler of 192.0.2.7:50112 returned 256, which is "
              "not 0 to 255: recorded as 101 (bug)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 exited with code 1 "
              "(handler failed) after 1.500000 s (2 of 1000): GET /\\x0a\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 exited with code 0 "
              "(served) "
              "after 1.500000 s (2 of 1000)\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 exited with code 42 "
              "after 1.500000 s (2 of 1000)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 exited with code 1 "
              "(handler failed) "
              "after 1.500000 s (2 of 1000)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 exited with code 101 "
              "(bug) "
              "after 1.500000 s (2 of 1000)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 killed by SIGSEGV "
              "(Segmentation fault) "
              "after 1.500000 s (2 of 1000)\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 killed by SIGTERM "
              "(Terminated) "
              "after 1.500000 s (2 of 1000)\n"),
          Own("warning: pid 4711 handling 192.0.2.7:50112 killed by SIGKILL "
              "(Killed) "
              "after 1.500000 s (2 of 1000)\n"),
          Own("info: pid 4711 handling 192.0.2.7:50112 ended with unknown "
              "status "
              "after 1.500000 s (2 of 1000)\n"),
          Own("warning: the exit status of pid 4711 is unknown: another wait "
              "call of this program took it (with __WALL, or because the "
              "handler executed a program); such connections are counted as "
              "unknown from now on\n"),
          Own("warning: killing pid 4711 handling 192.0.2.7:50112: "
              "deadlines.first_byte\n"),
          Own("info: upgrade: started pid 4713 from /opt/server\n"),
          Own("warning: upgrade ignored: an upgrade is already in progress\n"),
          Own("info: upgrade: pid 4713 is ready and accepts connections\n"),
          Own("info: upgrade: pid 4713 has taken over\n"),
          Own("error: upgrade failed, still serving: new process 4713 exited "
              "with code 1 before it was ready (failures: 2)\n"),
          Own("error: upgrade failed, still serving: posix_spawn /opt/server "
              "(failures: 3)\n"),
          Own("info: upgrade: pid 4713, which had taken over, exited with code "
              "0\n"),
          Own("warning: the main process of this server has ended: "
              "stopping\n"),
          Own("info: replaced by another program, waiting for 3 "
              "connections\n"),
          Own("warning: fork failed for 192.0.2.7:50112: clone: try again; the "
              "next attempt is in 20 ms (0 similar messages suppressed)\n"),
          Own("error: fork failed for 192.0.2.7:50112, connection closed: "
              "clone: try again; accept resumes in 20 ms (0 similar messages "
              "suppressed)\n"),
          Own("warning: accept failed on [::1]:7000: Too many open files; "
              "accept resumes in 20 ms at the latest (0 similar messages "
              "suppressed)\n"),
          Own("warning: accept failed on [::1]:7000: Software caused "
              "connection "
              "abort; trying the next connection (0 similar messages "
              "suppressed)\n"),
          Own("error: accept failed on [::1]:7000: Bad file descriptor; this "
              "listener is closed\n"),
          StartsWith(Own("warning: [::1]:7000 is open to other machines and "
                         "no deadline ends a connection")),
          Own("warning: on [::1]:7000 the kernel alone enforces the peer "
              "timeout, because it cannot be asked about the connections: "
              "sock_diag\n"),
          Own("error: deadlines are late, because the kernel cannot be asked "
              "about connections: send; trying again (0 similar messages "
              "suppressed)\n"),
          Own("error: poll failed: Cannot allocate memory; trying again (0 "
              "similar messages suppressed)\n"),
          Own("error: poll reports exits again and again, and there is "
              "nothing to read; polling it again in 20 ms (0 similar messages "
              "suppressed)\n"),
          Own("error: worker pid 4714 exited with code 111 before it was "
              "ready; the next fork is in 20 ms\n"),
          Own("warning: worker pid 4714 is dismissed: it shut its queue down "
              "(0 "
              "similar messages suppressed)\n"),
          Own("error: prefork failed: clone: try again; the next attempt is in "
              "20 ms\n"),
          Own("info: zygote is pid 4715\n"),
          Own("error: zygote pid 4715 does nothing while 3 connections "
              "wait\n"),
          Own("info: the zygote is replaced: the user id of this process has "
              "changed\n"),
          Own("warning: hardening.stack_canary has no effect on children: "
              "clone: try again\n"),
          Own("warning: zygote pid 4715 killed by SIGKILL (Killed)\n")));
}

TEST_F(EventLogTest, WritesEveryTotalAtTheEnd) {
  const StderrCapture captured = StderrCapture::ToPackets();
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

TEST_F(EventLogTest, WritesTheEventsOfItsLevelAndNoOthers) {
  const StderrCapture captured = StderrCapture::ToPackets();
  const std::pair<LogLevel, std::vector<std::string>> kLevels[] = {
      {LogLevel::kInfo, {"info", "warning", "error"}},
      {LogLevel::kWarning, {"warning", "error"}},
      {LogLevel::kError, {"error"}},
      {LogLevel::kOff, {}},
  };
  {
    EventLog everything(LogLevel::kInfo);
    LogEveryEvent(everything);
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
    LogEveryEvent(log);
    EXPECT_EQ(captured.Writes(), expected);
    EXPECT_EQ(log.dropped(), 0u);
  }
}

TEST_F(EventLogTest, DropsLinesWhileThePipeIsFullAndThenReportsTheNumber) {
  const StderrCapture captured = StderrCapture::ToPipe();
  EventLog log(LogLevel::kInfo);
  EXPECT_EQ(log.dropped(), 0u);
  const int written = FillPipe(log);
  EXPECT_GT(written, 0);
  for (int i = 0; i < 6; ++i) log.Terminating(2);
  EXPECT_EQ(log.dropped(), 7u);
  EXPECT_THAT(captured.Lines(), SizeIs(written));

  log.Killing(3);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("warning: 7 log lines were dropped"),
                          Own("warning: killing 3 children")));
  log.Killing(4);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("warning: killing 4 children")));
  EXPECT_EQ(log.dropped(), 7u);
}

TEST_F(EventLogTest, CountsFromZeroAfterItHasReportedDroppedLines) {
  const StderrCapture captured = StderrCapture::ToPipe();
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

TEST_F(EventLogTest, ReportsDroppedLinesAtTheEnd) {
  const StderrCapture captured = StderrCapture::ToPipe();
  EventLog log(LogLevel::kInfo);
  FillPipe(log);
  captured.Lines();
  log.Stopped(Totals());
  EXPECT_THAT(captured.Lines(),
              ElementsAre(HasSubstr("1 log lines were dropped"),
                          EndsWith("; log lines dropped 1")));
}

TEST_F(EventLogTest, CountsADropInAChildInTheParent) {
  const StderrCapture captured = StderrCapture::ToPipe();
  EventLog log(LogLevel::kInfo);
  FillPipe(log);
  ASSERT_EQ(log.dropped(), 1u);
  const pid_t child = fork();
  if (child == 0) {
    log.Handling(LogPeer());
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

TEST_F(EventLogTest, WritesInAChildWithItsPidAndWithoutTheParentsFd) {
  const StderrCapture captured = StderrCapture::ToPipe();
  EventLog log(LogLevel::kInfo);
  ASSERT_GE(log.own_fd(), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(log.own_fd());
    log.Handling(LogPeer());
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_THAT(captured.Lines(),
              ElementsAre(Own("info: serving 192.0.2.7:50112", child)));
}

// A child has no counts, and must not touch them.
TEST_F(EventLogTest, WritesAFailedPreparationOfAChildAtEveryLevel) {
  const StderrCapture captured = StderrCapture::ToPipe();
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
        ElementsAre(Own(
            "error: preparing the child failed, the child exits: no entropy",
            child)));
  }
}

TEST_F(EventLogTest, WritesAnEventThatComesInFloodsOnceASecond) {
  const StderrCapture captured = StderrCapture::ToPackets();
  const auto suppressed = [](int count) {
    return HasSubstr(absl::StrCat("(", count, " similar messages suppressed)"));
  };
  void (*const kFloods[])(EventLog & log, net::Instant now) = {
      [](EventLog& log, net::Instant now) {
        log.ForkDelayed(LogPeer(), absl::UnavailableError("clone"), kLogPause,
                        now);
      },
      [](EventLog& log, net::Instant now) {
        log.ForkFailed(LogPeer(), absl::UnavailableError("clone"), kLogPause,
                       now);
      },
      [](EventLog& log, net::Instant now) {
        log.AcceptPaused(LogListener(), EMFILE, kLogPause, now);
      },
      [](EventLog& log, net::Instant now) {
        log.AcceptFailed(LogListener(), ECONNABORTED, now);
      },
      [](EventLog& log, net::Instant now) {
        log.CallFailed("poll", ENOMEM, now);
      },
  };
  // One log for all kinds: no flood may suppress another one.
  EventLog log(LogLevel::kInfo);
  for (const auto& flood : kFloods) {
    for (int ms = 0; ms < 1000; ++ms) {
      flood(log, net::After(LogTime(), absl::Milliseconds(ms)));
    }
    EXPECT_THAT(captured.Writes(), ElementsAre(suppressed(0)));
    flood(log, net::After(LogTime(), absl::Seconds(1)));
    EXPECT_THAT(captured.Writes(), ElementsAre(suppressed(999)));
    flood(log, net::After(LogTime(), absl::Seconds(3)));
    EXPECT_THAT(captured.Writes(), ElementsAre(suppressed(0)));
  }
  EXPECT_EQ(log.dropped(), 0u);
}

TEST_F(EventLogTest, CutsTheEndOfALineThatIsTooLongAndNotItsNewline) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(LogLevel::kInfo);
  log.ForkFailed(LogPeer(), absl::UnavailableError(std::string(5000, 'x')),
                 kLogPause, LogTime());
  const std::vector<std::string> writes = captured.Writes();
  ASSERT_THAT(writes, SizeIs(1));
  EXPECT_THAT(writes[0], AllOf(StartsWith(Own("error: fork failed for")),
                               EndsWith("xxx\n"), SizeIs(1024)));
}

}  // namespace
}  // namespace brood::server

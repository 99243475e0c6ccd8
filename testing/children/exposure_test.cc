// SPDX-License-Identifier: Apache-2.0
//
// What a child that was taken over cannot do to its siblings, and that the
// kernel kills children rather than the server when memory runs out.

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::StrategyKind;

constexpr uid_t kNobody = 65534;

int OomScoreOf(const std::string& process) {
  int score = -1;
  EXPECT_TRUE(absl::SimpleAtoi(
      ReadProcFile(absl::StrCat("/proc/", process, "/oom_score_adj")), &score));
  return score;
}

// Each is tried on the process whose pid the client sends; the reply names
// those that succeed.
ExitCode AttackSibling(net::Connection& connection) {
  static int secret = 4711;
  char text[16] = "";
  if (!net::ReadSome(connection.socket(), absl::MakeSpan(text, 15)).ok()) {
    return ExitCode::kPeerLost;
  }
  const pid_t sibling = static_cast<pid_t>(std::atoi(text));
  if (sibling == 0) {
    // This is the sibling: sends its pid, and waits until its client closes.
    Reply(connection, PidText());
    char byte;
    while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
    }
    return ExitCode::kServed;
  }
  std::string done = "done:";
  int copy = 0;
  const iovec local = {&copy, sizeof(copy)};
  const iovec remote = {&secret, sizeof(secret)};
  if (process_vm_readv(sibling, &local, 1, &remote, 1, 0) > 0) done += " read";
  if (process_vm_writev(sibling, &local, 1, &remote, 1, 0) > 0) {
    done += " write";
  }
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, sibling, 0));
  if (syscall(SYS_pidfd_getfd, pidfd, STDERR_FILENO, 0) >= 0) {
    done += " descriptor";
  }
  if (std::ifstream(absl::StrCat("/proc/", sibling, "/maps")).get() != EOF) {
    done += " maps";
  }
  if (ptrace(PTRACE_SEIZE, sibling, nullptr, nullptr) == 0) done += " trace";
  return Reply(connection, done);
}

class ExposureTest : public StrategyTest {
 protected:
  static TestServer::Setup ExposureSetup() {
    TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
    setup.options.spares.min = 2;
    setup.options.pool.workers = 2;
    return setup;
  }

  static void BecomeAnotherUser() {
    EXPECT_EQ(setresgid(kNobody, kNobody, kNobody), 0);
    EXPECT_EQ(setresuid(kNobody, kNobody, kNobody), 0);
    // A change of the user makes a process undumpable; the tests are not about
    // that.
    EXPECT_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
  }

  // Returns what a child can do to another one of the same user, which is not
  // root.
  std::string Attack(bool dumpable) {
    TestServer::Setup setup = ExposureSetup();
    setup.options.hardening.dumpable = dumpable;
    setup.handler = AttackSibling;
    setup.before = BecomeAnotherUser;
    const auto server = StartServer(std::move(setup));
    TestClient sibling = ConnectTo(*server);
    EXPECT_THAT(sibling.Send("0"), IsOk());
    const absl::StatusOr<std::string> pid = sibling.ReadExactly(10);
    EXPECT_THAT(pid, IsOk());
    TestClient attacker = ConnectTo(*server);
    EXPECT_THAT(attacker.Send(*pid), IsOk());
    const absl::StatusOr<std::string> done = attacker.ReadUntilEof();
    EXPECT_THAT(done, IsOk());
    sibling.Close();
    StopAndExpectClean(*server);
    return done.ok() ? *done : "";
  }
};

INSTANTIATE_TEST_SUITE_P(With, ExposureTest, EachStrategy(), StrategyName());

TEST_P(ExposureTest, OfAChildToItsSiblingsIsNone) {
  if (geteuid() != 0) GTEST_SKIP() << "not root";
  EXPECT_EQ(Attack(/*dumpable=*/false), "done:");
}

// Shows that the attack of the test before works. (With Yama only parents may
// read and trace.)
TEST_P(ExposureTest, OfAChildThatIsDumpableIsComplete) {
  if (geteuid() != 0) GTEST_SKIP() << "not root";
  if (ReadProcFile("/proc/sys/kernel/yama/ptrace_scope") > "0") {
    GTEST_SKIP() << "Yama is on";
  }
  EXPECT_EQ(Attack(/*dumpable=*/true),
            "done: read write descriptor maps trace");
}

ExitCode ReplyWithOomScore(net::Connection& connection) {
  return Reply(connection, absl::StrCat(OomScoreOf("self")));
}

// The kernel kills the process with the highest score. Without an adjustment
// that is the parent, which has more memory than a child whose memory is in
// pipes and files. (The choice itself can be seen in a memory cgroup only.)
TEST_P(ExposureTest, ToTheKernelIsThatOfTheServerUnlessItIsOffThePath) {
  const bool ahead = row().strategy == StrategyKind::kSpares ||
                     row().strategy == StrategyKind::kPool ||
                     row().strategy == StrategyKind::kZygote;
  for (const int added : {0, 300}) {
    for (const bool with_fork : {false, true}) {
      SCOPED_TRACE(absl::StrCat(added, " with fork ", with_fork));
      TestServer::Setup setup = ExposureSetup();
      setup.options.hardening.oom_score_adj = added;
      setup.options.hardening.oom_score_with_fork = with_fork;
      setup.handler = ReplyWithOomScore;
      const auto server = StartServer(std::move(setup));
      const int own = OomScoreOf(absl::StrCat(server->pid()));
      const int expected =
          added > 0 && (ahead || with_fork) ? std::min(1000, own + added) : own;
      // More clients than spares, so that some children are forked directly.
      for (int i = 0; i < 4; ++i) {
        EXPECT_THAT(ConnectTo(*server).ReadUntilEof(),
                    IsOkAndHolds(absl::StrCat(expected)));
      }
      // Children that wait set their score before anything else.
      EXPECT_TRUE(Await([&] {
        const std::vector<pid_t> children = server->children();
        return std::all_of(children.begin(), children.end(), [&](pid_t child) {
          const std::string score =
              ReadProcFile(absl::StrCat("/proc/", child, "/oom_score_adj"));
          return !ahead || score.empty() || score == absl::StrCat(expected);
        });
      }));
      StopAndExpectClean(*server);
    }
  }
}

// Of a process that is not dumpable, only root may write the score.
TEST_P(ExposureTest, ToTheKernelIsHigherAlthoughTheServerIsNotRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "not root";
  TestServer::Setup setup = ExposureSetup();
  setup.options.hardening.oom_score_adj = 300;
  setup.options.hardening.oom_score_with_fork = true;
  setup.before = BecomeAnotherUser;
  setup.handler = ReplyWithOomScore;
  const auto server = StartServer(std::move(setup));
  const int own = OomScoreOf(absl::StrCat(server->pid()));
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(),
                IsOkAndHolds(absl::StrCat(std::min(1000, own + 300))));
  }
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing

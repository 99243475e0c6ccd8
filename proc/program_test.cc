// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/program.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/proc/reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ReaperHarness;
using ::brood::testing::StatusIs;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class ProgramTest : public ::brood::testing::LeakCheck {
 protected:
  ~ProgramTest() override { unlink(out_.c_str()); }

  // Returns a shell that runs `script`, which writes to the file "$out".
  Program Shell(const std::string& script) {
    Program program;
    program.path = "/bin/sh";
    program.arguments = {"shell", "-c", script, "name"};
    program.environment = {"out=" + out_, "PATH=/usr/bin:/bin"};
    return program;
  }

  ExitStatus RunToTheEnd(const Program& program) {
    ReaperHarness harness(Reaper::Ownership::kOursAlone);
    absl::StatusOr<Child> child = StartProgram(program);
    EXPECT_THAT(child, IsOk());
    if (!child.ok()) return ExitStatus::Unknown();
    const pid_t pid = child->pid();
    harness.reaper().Adopt(*std::move(child), /*tag=*/0);
    ReaperHarness::AwaitZombie(pid);
    ExitStatus status = ExitStatus::Unknown();
    for (const Reaper::Ended& ended :
         harness.reaper().CleanupChildren(harness.reaper().next_check())) {
      status = ended.status;
    }
    return status;
  }

  std::string Output() const {
    std::string text(4096, '\0');
    const int fd = open(out_.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t length = read(fd, text.data(), text.size());
    close(fd);
    text.resize(length < 0 ? 0 : static_cast<size_t>(length));
    return text;
  }

  const std::string out_ =
      ::testing::TempDir() + "/" +
      ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ProgramTest, LeadsItsOwnProcessGroup) {
  RunToTheEnd(
      Shell("read -r pid name state parent group rest </proc/$$/stat; "
            "[ $pid = $group ] && echo own >$out"));
  EXPECT_EQ(Output(), "own\n");
}

// A shell cannot change a signal that was ignored when it started.
TEST_F(ProgramTest, KeepsIgnoringRequestedSignals) {
  for (int signal : {SIGHUP, SIGINT, SIGUSR1}) std::signal(signal, SIG_IGN);
  Program program = Shell(
      "for signal in HUP INT USR1; do kill -$signal $$; done; echo alive "
      ">$out");
  program.kept_if_ignored = {SIGHUP, SIGINT, SIGTERM};
  const ExitStatus status = RunToTheEnd(program);
  program.kept_if_ignored.push_back(SIGUSR1);
  const ExitStatus with_usr1 = RunToTheEnd(program);
  for (int signal : {SIGHUP, SIGINT, SIGUSR1}) std::signal(signal, SIG_DFL);
  EXPECT_TRUE(status.killed());
  EXPECT_EQ(status.signal(), SIGUSR1) << "the others were ignored";
  EXPECT_EQ(with_usr1.code(), 0);
  EXPECT_EQ(Output(), "alive\n");
}

TEST_F(ProgramTest, EndsWithItsOwnExitCode) {
  EXPECT_EQ(RunToTheEnd(Shell("exit 7")).code(), 7);
}

TEST_F(ProgramTest, ReceivesArgumentsAndEnvironment) {
  Program program = Shell("echo \"$0 $1 $greeting $HOME\" >$out");
  program.arguments.emplace_back("two words");
  program.environment.emplace_back("greeting=good day");
  EXPECT_EQ(RunToTheEnd(program).code(), 0);
  EXPECT_EQ(Output(), "name two words good day \n");
}

TEST_F(ProgramTest, ReceivesItsDescriptorsInOrderAndNoOther) {
  // Not close-on-exec, and another descriptor gets its number in the program.
  const int stray = open("/dev/null", O_RDONLY);
  const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const int full = open("/dev/full", O_RDONLY | O_CLOEXEC);
  const int beyond = dup(stray);  // not used in the program
  Program program = Shell(
      "for fd in 3 4 5 6 7 8 9; do"
      "  echo $fd >>$out; readlink /proc/$$/fd/$fd >>$out; done");
  program.fds = {full, zero};
  if (stray == 4) program.fds = {zero, full};
  RunToTheEnd(program);
  const std::string first = stray == 4 ? "zero" : "full";
  const std::string second = stray == 4 ? "full" : "zero";
  EXPECT_EQ(Output(),
            "3\n/dev/" + first + "\n4\n/dev/" + second + "\n5\n6\n7\n8\n9\n");
  for (int fd : {stray, zero, full, beyond}) close(fd);
}

TEST_F(ProgramTest, SwapsDescriptorsWithExchangedNumbers) {
  const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const int full = open("/dev/full", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(full, zero + 1);
  Program program = Shell(
      "readlink /proc/$$/fd/$first >$out; readlink /proc/$$/fd/$second >>$out");
  program.environment.push_back("first=" + std::to_string(zero));
  program.environment.push_back("second=" + std::to_string(full));
  while (program.fds.size() + 3 < static_cast<size_t>(zero)) {
    program.fds.push_back(STDIN_FILENO);
  }
  program.fds.push_back(full);
  program.fds.push_back(zero);
  EXPECT_EQ(RunToTheEnd(program).code(), 0);
  EXPECT_EQ(Output(), "/dev/full\n/dev/zero\n");
  close(zero);
  close(full);
}

TEST_F(ProgramTest, StartsWithDefaultDispositionsAndTheRequestedMask) {
  const auto previous = signal(SIGPIPE, SIG_IGN);
  sigset_t usr1, old_mask;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, &old_mask);
  Program program = Shell("");  // shells change their masks
  program.path = "/bin/cp";
  program.arguments = {"cp", "/proc/self/status", out_};
  program.blocked_signals = {SIGHUP, SIGUSR2};
  EXPECT_EQ(RunToTheEnd(program).code(), 0);
  EXPECT_THAT(Output(), HasSubstr("SigBlk:\t0000000000000801\n"));
  // Signals 32 and 33 belong to the C library, which does not report them.
  EXPECT_THAT(Output(), ContainsRegex("SigIgn:\t0000000180000000\n|"
                                      "SigIgn:\t0000000000000000\n"));
  sigprocmask(SIG_SETMASK, &old_mask, nullptr);
  signal(SIGPIPE, previous);
}

TEST_F(ProgramTest, StartsWithTheRequestedLimitOfDescriptors) {
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const auto own = static_cast<int>(before.rlim_cur);
  Program program = Shell("ulimit -Sn >$out; ulimit -Hn >>$out");
  program.fds = std::vector<int>(10, STDERR_FILENO);
  for (const auto& [given, expected] :
       {std::pair{100, 100}, {5, 21}, {own + 1, own}}) {
    program.descriptors = given;
    EXPECT_EQ(RunToTheEnd(program).code(), 0);
    EXPECT_EQ(Output(), absl::StrCat(expected, "\n", before.rlim_max, "\n"))
        << "the limit is not raised, and the program has its descriptors";
  }
  rlimit after;
  getrlimit(RLIMIT_NOFILE, &after);
  EXPECT_EQ(after.rlim_cur, before.rlim_cur) << "the limit of this process";
}

TEST_F(ProgramTest, ReturnsErrorForFileThatCannotBeExecuted) {
  Program program = Shell("exit 0");
  program.path = "/no/such/file";
  EXPECT_THAT(StartProgram(program),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("posix_spawn /no/such/file: No such file")));
  program.path = out_;
  close(open(out_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  EXPECT_THAT(StartProgram(program),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr(out_)));
  chmod(out_.c_str(), 0755);
  EXPECT_FALSE(StartProgram(program).ok())
      << "the file is empty, so not a program";
}

TEST_F(ProgramTest, ReturnsErrorForClosedDescriptor) {
  Program program = Shell("exit 0");
  program.fds = {STDIN_FILENO, 5000};
  EXPECT_THAT(StartProgram(program).status().message(),
              HasSubstr("fcntl F_DUPFD 5000"));
}

}  // namespace
}  // namespace brood::proc

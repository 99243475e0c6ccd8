// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_LAUNCHER_HARNESS_H_
#define BROOD_TESTING_SUPPORT_LAUNCHER_HARNESS_H_

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/proc/launch/launcher.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::testing {

// LauncherTest is the base class of the tests of proc::Launcher. Each launches
// real programs, with one end of a socket pair as the connection.
//
// For unit tests, in one process. Skips the test where nothing can be launched,
// as under valgrind, which has no clone3. No other errors.
//
// Example:
//   class LauncherTest : public testing::LauncherTest {};
//   TEST_F(LauncherTest, ...) { EXPECT_EQ(Launched(Shell("exit 7")), ...); }
class LauncherTest : public LeakCheck {
 protected:
  // Running is a program that was launched.
  struct Running {
    // The process; 0 if the program must be forked.
    pid_t pid = 0;
    // The other end of its connection, which the test closes.
    int client = -1;
  };

  // The path of a program that does not exist.
  static constexpr char kMissing[] = "/no/such/program";
  // The environment of programs that need none.
  static constexpr char* kEmpty[] = {nullptr};

  void SetUp() override {
    if (!absl::StrContains(Launched(Shell("exit 0")), "exited 0")) {
      GTEST_SKIP() << "no program can be launched here";
    }
  }

  // Returns the program at the path `arguments[0]`.
  static proc::LaunchedProgram Execute(std::vector<std::string> arguments) {
    proc::LaunchedProgram program;
    program.path = arguments.front();
    program.arguments = std::move(arguments);
    program.targets = {STDIN_FILENO, STDOUT_FILENO};
    return program;
  }
  // Returns a shell that runs `script`.
  static proc::LaunchedProgram Shell(const std::string& script) {
    return Execute({"/bin/sh", "-c", script});
  }
  // Returns a program that is missing, and whose process waits for the end of
  // its client.
  static proc::LaunchedProgram Missing() {
    proc::LaunchedProgram program = Execute({kMissing});
    program.linger_ms = 60000;
    return program;
  }

  // Launches the program of `launcher`. Pid 0 if it must be forked.
  static Running Start(proc::Launcher& launcher,
                       char* const* environment = kEmpty) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    auto child = launcher.Launch(pair[1], environment);
    close(pair[1]);
    if (!child || !child->ok()) return {0, pair[0]};
    return {std::move(**child).Release(), pair[0]};
  }

  // Returns what the program writes to its connection, and closes it.
  static std::string ReadAll(const Running& running) {
    std::string text;
    char buffer[4096];
    for (;;) {
      const ssize_t size =
          TEMP_FAILURE_RETRY(read(running.client, buffer, sizeof(buffer)));
      if (size <= 0) break;
      text.append(buffer, static_cast<size_t>(size));
    }
    close(running.client);
    return text;
  }

  // Waits for the end of `pid`. Returns its status.
  static int Wait(pid_t pid) {
    int status = -1;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, __WALL)), pid);
    return status;
  }

  // Reports whether `launcher` launches its program, and waits for its end.
  static bool Launches(proc::Launcher& launcher,
                       char* const* environment = kEmpty) {
    const Running running = Start(launcher, environment);
    close(running.client);
    if (running.pid == 0) return false;
    Wait(running.pid);
    return true;
  }

  // Launches `program` once. Returns its output, followed by how it ended.
  static std::string Launched(const proc::LaunchedProgram& program,
                              const proc::ChildSettings& settings = {},
                              char* const* environment = kEmpty) {
    proc::Launcher launcher(SIGCHLD, settings, program);
    launcher.Prepare();
    const Running running = Start(launcher, environment);
    std::string text = ReadAll(running);
    if (running.pid == 0) return "not launched";
    const int status = Wait(running.pid);
    EXPECT_THAT(launcher.TakeError(running.pid), IsOk());
    return WIFEXITED(status)
               ? absl::StrCat(text, "exited ", WEXITSTATUS(status))
               : absl::StrCat(text, "killed ", WTERMSIG(status));
  }
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_LAUNCHER_HARNESS_H_

// SPDX-License-Identifier: Apache-2.0

// O17: a server in a chroot without /proc that listens on a unix socket whose
// mode the umask would limit, and a server whose start fails after it has
// listened. For the variants see net/unix_file/without_proc_test.cc.

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/server/echo_handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

constexpr int kCannotRun = 77;

class WithoutProcTest : public StrategyTest {
 protected:
  // Runs `body` in a process of its own.
  static void InProcess(const std::function<void()>& body) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      body();
      std::fflush(nullptr);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotRun) {
      GTEST_SKIP() << "this user cannot chroot";
    }
    EXPECT_EQ(status, 0) << "see above";
  }

  static absl::StatusOr<std::unique_ptr<server::TcpServer>> Create(
      const std::string& path) {
    server::Options options;
    options.strategy = row().strategy;
    options.listen = {"unix:" + path};
    options.unix_mode = 0660;
    return server::TcpServer::Create(options, server::EchoHandler(1024));
  }

  const ShortDir dir_;
};

TEST_P(WithoutProcTest, GivesTheSocketFileItsMode) {
  InProcess([this] {
    if (chroot(dir_.path().c_str()) < 0 || chdir("/") < 0) _exit(kCannotRun);
    umask(077);
    auto server = Create("/s");
    ASSERT_THAT(server, IsOk());
    struct stat file = {};
    ASSERT_EQ(stat("/s", &file), 0);
    EXPECT_EQ(file.st_mode & 07777, 0660u);
    (*server)->RequestDrain();
    EXPECT_THAT((*server)->Run(), IsOk());
  });
}

// Tries each step that can fail after the socket was bound.
TEST_P(WithoutProcTest, LeavesNoFileIfTheStartFails) {
  for (const int call : {SYS_eventfd2, SYS_socketpair, SYS_timerfd_create,
                         SYS_chmod, SYS_listen, SYS_signalfd4}) {
    InProcess([this, call] {
      umask(077);
      RefuseCalls({call}, EMFILE);
      auto server = Create(dir_.File("s"));
      if (server.ok()) _exit(0);
      EXPECT_EQ(access(dir_.File("s").c_str(), F_OK), -1)
          << server.status() << ", call " << call;
    });
    unlink(dir_.File("s").c_str());
  }
}

INSTANTIATE_TEST_SUITE_P(With, WithoutProcTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

// Listening on a unix socket in a chroot that has no /proc, where the file of a
// socket cannot be named by a descriptor (O17).
//
// Tested: each mode with each umask; directories that only this user may
// change, that have the sticky bit, and that others may change; the first start
// and one that finds a file left behind; another user's directory; a mode that
// needs no change. After a failure of each call that follows bind() there is no
// file.

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kCannotRun = 77;

class WithoutProcTest : public ::brood::testing::LeakCheck {
 protected:
  // Runs `body` in a process whose root is the directory of this test.
  void InChroot(const std::function<void()>& body) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      if (chroot(dir_.path().c_str()) < 0 || chdir("/") < 0) _exit(kCannotRun);
      EXPECT_EQ(access("/proc", F_OK), -1);
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

  static absl::StatusOr<Listener> Listen(mode_t mode) {
    return Listener::Listen(*Endpoint::Parse("unix:/s"), kFullBacklog, mode);
  }

  const ShortDir dir_;
};

TEST_F(WithoutProcTest, SetsTheModeInADirectoryOfItsUser) {
  InChroot([] {
    for (const mode_t directory : {0700, 0755, 01777, 01775}) {
      ASSERT_EQ(chmod("/", directory), 0);
      for (const mode_t mask : {0, 022, 077, 0777}) {
        for (const mode_t mode : {0600, 0660, 0666, 0777, 0000}) {
          umask(mask);
          const absl::StatusOr<Listener> listener = Listen(mode);
          ASSERT_THAT(listener, IsOk());
          struct stat file = {};
          ASSERT_EQ(lstat("/s", &file), 0);
          EXPECT_EQ(file.st_mode & 07777, mode) << "with umask " << mask;
        }
      }
    }
  });
}

TEST_F(WithoutProcTest, NamesProcWhereOthersMayChangeTheDirectory) {
  InChroot([] {
    umask(077);
    for (const mode_t directory : {0777, 0770, 0702}) {
      ASSERT_EQ(chmod("/", directory), 0);
      EXPECT_THAT(Listen(0660),
                  StatusIs(absl::StatusCode::kFailedPrecondition,
                           AllOf(HasSubstr("chmod /s"),
                                 HasSubstr("/proc is not mounted"))));
      EXPECT_EQ(access("/s", F_OK), -1) << "the file still exists";
      EXPECT_THAT(Listen(0600), IsOk()) << "a mode that needs no change works";
      ASSERT_EQ(unlink("/s"), 0);
    }
  });
}

TEST_F(WithoutProcTest, NamesProcInADirectoryOfAnotherUser) {
  InChroot([] {
    umask(077);
    if (chown("/", 65534, 65534) < 0) _exit(kCannotRun);
    for (const mode_t directory : {0755, 01777}) {
      ASSERT_EQ(chmod("/", directory), 0);
      EXPECT_THAT(Listen(0660), StatusIs(absl::StatusCode::kFailedPrecondition,
                                         HasSubstr("/proc is not mounted")));
      EXPECT_EQ(access("/s", F_OK), -1) << "the file still exists";
    }
    ASSERT_EQ(chown("/", 0, 0), 0);
  });
}

}  // namespace
}  // namespace brood::net

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/hardening/exposure.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "absl/functional/function_ref.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr uid_t kNobody = 65534;

class ExposureTest : public ::brood::testing::LeakCheck {
 protected:
  // Runs `body` in a child, which fails the test if it returns false.
  static void ExpectInChild(absl::FunctionRef<bool()> body) {
    const pid_t child = fork();
    if (child == 0) _exit(body() ? 0 : 1);
    int status = -1;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
    EXPECT_EQ(status, 0);
  }
};

// Another process of the same user, without privileges.
TEST_F(ExposureTest, PreventsOtherProcessesFromReadingMemory) {
  if (geteuid() != 0) GTEST_SKIP() << "not root";
  ExpectInChild([] {
    if (setresuid(kNobody, kNobody, kNobody) != 0) return false;
    if (prctl(PR_SET_DUMPABLE, 1) != 0) return false;
    static int secret = 4711;
    const pid_t self = getpid();
    const auto read_by_child = [self] {
      const pid_t reader = fork();
      if (reader == 0) {
        int copy = 0;
        const iovec local = {&copy, sizeof(copy)};
        const iovec remote = {&secret, sizeof(secret)};
        const bool read = process_vm_readv(self, &local, 1, &remote, 1, 0) ==
                          static_cast<ssize_t>(sizeof(copy));
        _exit(read && copy == secret ? 1 : errno == EPERM ? 2 : 3);
      }
      int status = -1;
      waitpid(reader, &status, 0);
      return WEXITSTATUS(status);
    };
    // Turns off Yama, which may allow it to parents alone.
    const int before = read_by_child();
    if (before != 1 && before != 2) return false;
    return CloseToOthers().ok() && read_by_child() == 2;
  });
}

TEST_F(ExposureTest, AllowsDescriptorsToBeReopened) {
  if (geteuid() != 0) GTEST_SKIP() << "not root";
  ExpectInChild([] {
    if (setresuid(kNobody, kNobody, kNobody) != 0) return false;
    if (!CloseToOthers().ok() || prctl(PR_GET_DUMPABLE) != 0) return false;
    int fds[2];
    if (pipe(fds) != 0) return false;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[1]);
    return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) >= 0;
  });
}

TEST_F(ExposureTest, RaisesTheScoreOfItselfAndOfChildren) {
  ExpectInChild([] {
    const int before = OomScore();
    if (before > 700) return true;
    if (SetOomScore(701) != 0 || OomScore() != 701) return false;
    const pid_t child = fork();
    if (child == 0) _exit(OomScore() == 701 ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    return status == 0;
  });
}

TEST_F(ExposureTest, ReportsThatAClosedProcessCannotRaiseItsScore) {
  if (geteuid() != 0) GTEST_SKIP() << "not root";
  ExpectInChild([] {
    if (setresuid(kNobody, kNobody, kNobody) != 0) return false;
    if (prctl(PR_SET_DUMPABLE, 1) != 0 || !CheckOomScore().ok()) return false;
    if (!CloseToOthers().ok()) return false;
    return absl::IsPermissionDenied(CheckOomScore()) &&
           SetOomScore(1000) == EACCES;
  });
}

TEST_F(ExposureTest, ReportsTheErrorOfAScoreThatIsTooHigh) {
  ExpectInChild([] { return SetOomScore(1001) == EINVAL; });
}

}  // namespace
}  // namespace brood::proc

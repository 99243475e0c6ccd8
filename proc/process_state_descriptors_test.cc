// SPDX-License-Identifier: Apache-2.0

// The descriptors through which a ProcessState looks at its process: a handler
// may close them or put others in their place.

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/proc/process_state.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

// Returns the descriptor of the file in /proc/PID that `name` ends.
int OpenFile(absl::string_view name) {
  for (int fd = STDERR_FILENO + 1; fd < 1024; ++fd) {
    char path[256];
    const ssize_t size = readlink(absl::StrCat("/proc/self/fd/", fd).c_str(),
                                  path, sizeof(path));
    if (size > 0 && absl::EndsWith({path, static_cast<size_t>(size)}, name)) {
      return fd;
    }
  }
  return -1;
}

struct Case {
  const char* file;
  // What takes the place of the file; null if it is closed.
  const char* replacement;
};

class ProcessStateDescriptorsTest : public ::brood::testing::LeakCheck,
                                    public ::testing::WithParamInterface<Case> {
};

TEST_P(ProcessStateDescriptorsTest, AreMissedIfTheyAreNotWhatTheyWere) {
  const pid_t child = fork();
  if (child == 0) {
    ProcessState pristine;
    if (!pristine.Restore()) _exit(1);
    const int fd = OpenFile(GetParam().file);
    if (fd < 0) _exit(2);
    close(fd);
    if (GetParam().replacement != nullptr) {
      const int other = open(GetParam().replacement, O_RDONLY | O_CLOEXEC);
      if (other != fd) _exit(3);
    }
    _exit(pristine.Restore() ? 4 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, W_EXITCODE(0, 0)) << "4: it is taken for clean";
}

INSTANTIATE_TEST_SUITE_P(
    Of, ProcessStateDescriptorsTest,
    ::testing::Values(Case{"/status", nullptr}, Case{"/status", "/dev/null"},
                      Case{"/status", "/proc/1/status"}, Case{"/fd", nullptr},
                      Case{"/fd", "/dev/null"}, Case{"/fd", "/proc/self/ns"},
                      Case{"/oom_score_adj", nullptr},
                      Case{"/oom_score_adj", "/dev/zero"}));

using ProcessStateOpenFilesTest = ::brood::testing::LeakCheck;

// Without the list it is not known which descriptors were open.
TEST_F(ProcessStateOpenFilesTest, AreNotClosedIfTheyCouldNotBeListed) {
  const pid_t child = fork();
  if (child == 0) {
    ::brood::testing::RefuseArgument({SYS_openat, /*index=*/2, O_DIRECTORY,
                                      O_DIRECTORY, /*if_equal=*/true, EMFILE});
    const int kept = dup(STDERR_FILENO);
    ProcessState pristine;
    if (pristine.Restore()) _exit(1);
    _exit(fcntl(kept, F_GETFD) >= 0 ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// The same file, but the next client of the process could not read from it.
TEST_F(ProcessStateOpenFilesTest, AreMissedIfTheyWereOpenedInAnotherWay) {
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ProcessState pristine;
    if (!pristine.Restore()) _exit(1);
    dup3(open("/dev/null", O_WRONLY | O_CLOEXEC), fd, O_CLOEXEC);
    _exit(pristine.Restore() ? 2 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace brood::proc

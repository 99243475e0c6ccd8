// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/namespaces/run_in_namespace.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/network/other_network.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::OtherNetwork;
using ::brood::testing::RefuseCalls;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;

// Returns a descriptor of the network namespace of a socket in another
// namespace.
class RunInNamespaceTest : public ::brood::testing::LeakCheck {
 protected:
  void SetUp() override {
    absl::StatusOr<OtherNetwork> other = OtherNetwork::Create(/*count=*/0);
    if (!other.ok()) GTEST_SKIP() << other.status();
    network_ = ioctl(other->listener.fd(), SIOCGSKNS);
    ASSERT_GE(network_, 0);
    ASSERT_EQ(fstat(network_, &wanted_), 0);
    absl::Status entered = RunInNamespace(network_, [] { return 0; });
    if (absl::IsPermissionDenied(entered)) GTEST_SKIP() << entered;
  }
  void TearDown() override {
    if (network_ >= 0) close(network_);
  }

  // Returns whether a process is in the other namespace.
  bool IsThere() const {
    struct stat here;
    return stat("/proc/self/ns/net", &here) == 0 &&
           here.st_ino == wanted_.st_ino;
  }

  int network_ = -1;
  struct stat wanted_ = {};
};

// Runs `body` in a process that may refuse calls to itself.
void RunApart(absl::FunctionRef<void()> body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST_F(RunInNamespaceTest, EntersTheNamespaceAndTheCallerStaysOutside) {
  EXPECT_THAT(RunInNamespace(network_, [&] { return IsThere() ? 0 : EDOM; }),
              IsOk());
  EXPECT_FALSE(IsThere());
}

TEST_F(RunInNamespaceTest, KeepsDescriptorsThatWereOpenedThere) {
  const int reserved = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_THAT(RunInNamespace(network_,
                             [&] {
                               const int fd = socket(AF_INET, SOCK_STREAM, 0);
                               dup3(fd, reserved, O_CLOEXEC);
                               close(fd);
                               return 0;
                             }),
              IsOk());
  const int network = ioctl(reserved, SIOCGSKNS);
  struct stat of_socket = {};
  fstat(network, &of_socket);
  EXPECT_EQ(of_socket.st_ino, wanted_.st_ino);
  close(network);
  close(reserved);
}

TEST_F(RunInNamespaceTest, ReturnsWhatFailed) {
  EXPECT_THAT(RunInNamespace(network_, [] { return EMFILE; }),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(
      RunInNamespace(-1, [] { return 0; }),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("setns")));
  EXPECT_THAT(RunInNamespace(network_,
                             [] {
                               raise(SIGKILL);
                               return 0;
                             }),
              StatusIs(absl::StatusCode::kAborted));
  RunApart([&] {
    RefuseCalls({SYS_setns}, EPERM);
    EXPECT_THAT(RunInNamespace(network_, [] { return 0; }),
                StatusIs(absl::StatusCode::kPermissionDenied));
  });
  RunApart([&] {
    RefuseCalls({SYS_clone}, EAGAIN);
    EXPECT_THAT(RunInNamespace(network_, [] { return 0; }),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("clone")));
  });
}

// SIGCHLD belongs to the program, and a wait for any child must not find the
// process.
TEST_F(RunInNamespaceTest, IsNotNoticedByTheProgram) {
  sigset_t before, after, pending;
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  EXPECT_THAT(RunInNamespace(network_, [] { return 0; }), IsOk());
  sigpending(&pending);
  EXPECT_FALSE(sigismember(&pending, SIGCHLD));
  sigprocmask(SIG_SETMASK, &before, &after);
  EXPECT_TRUE(sigismember(&after, SIGCHLD)) << "the mask was changed";
  EXPECT_EQ(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
  EXPECT_EQ(waitpid(-1, nullptr, __WALL | WNOHANG), -1);
}

}  // namespace
}  // namespace brood::proc

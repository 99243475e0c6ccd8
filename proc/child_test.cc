#include "brood/proc/child.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;

static_assert(!std::is_copy_constructible_v<Child>);
static_assert(!std::is_copy_assignable_v<Child>);

// A pid that no process has: the kernel's largest is 4194304.
constexpr pid_t kNobody = 5000001;
constexpr pid_t kNobodyElse = 5000002;

class ChildTest : public ::brood::testing::LeakCheck {
 protected:
  static Child ForkIdle() {
    const pid_t pid = fork();
    while (pid == 0) pause();
    return Child::Adopt(pid);
  }
  static int WaitFor(Child child) {
    int status = -1;
    const pid_t pid = std::move(child).Release();
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
  }
};

using ChildDeathTest = ChildTest;

TEST_F(ChildTest, OwnsNothingByDefault) { EXPECT_EQ(Child().pid(), 0); }

TEST_F(ChildTest, GivesUpThePidItReleases) {
  Child child = Child::Adopt(kNobody);
  EXPECT_EQ(std::move(child).Release(), kNobody);
  EXPECT_EQ(child.pid(), 0);  // NOLINT(bugprone-use-after-move)
}

TEST_F(ChildTest, IsEmptyWhenItWasMoved) {
  Child from = Child::Adopt(kNobody);
  Child to = std::move(from);
  EXPECT_EQ(from.pid(), 0);  // NOLINT(bugprone-use-after-move)
  Child last;
  last = std::move(to);
  EXPECT_EQ(to.pid(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(std::move(last).Release(), kNobody);
}

TEST_F(ChildTest, SurvivesItsAssignmentToItself) {
  Child child = Child::Adopt(kNobody);
  Child& same = child;
  child = std::move(same);
  EXPECT_EQ(std::move(child).Release(), kNobody);
}

TEST_F(ChildDeathTest, DestroyingAnUnreapedOneAbortsAndNamesThePid) {
  EXPECT_EXIT({ Child::Adopt(kNobody); }, ::testing::KilledBySignal(SIGABRT),
              absl::StrCat("child ", kNobody, " was dropped"));
}

TEST_F(ChildDeathTest, AssigningOverAnUnreapedOneAbortsAndNamesThePid) {
  EXPECT_EXIT(
      {
        Child child = Child::Adopt(kNobody);
        child = Child::Adopt(kNobodyElse);
      },
      ::testing::KilledBySignal(SIGABRT),
      absl::StrCat("child ", kNobody, " was dropped"));
}

TEST_F(ChildTest, SendsASignal) {
  Child child = ForkIdle();
  EXPECT_THAT(child.Signal(SIGTERM), IsOk());
  const int status = WaitFor(std::move(child));
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST_F(ChildTest, SendsASignalToOneThatHasEndedAndIsNotReaped) {
  Child child = ForkIdle();
  ASSERT_THAT(child.Signal(SIGKILL), IsOk());
  siginfo_t ignored;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &ignored,
                   WEXITED | WNOWAIT),
            0);
  EXPECT_THAT(child.Signal(SIGTERM), IsOk());
  EXPECT_EQ(WTERMSIG(WaitFor(std::move(child))), SIGKILL);
}

TEST_F(ChildTest, SendsNothingOnceItIsReaped) {
  // kill(0, ...) would go to us and all of our group; signal 0 harms nobody.
  EXPECT_THAT(Child().Signal(0),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ChildTest, NamesTheCallAndThePidWhenASignalCanNotBeSent) {
  Child child = Child::Adopt(kNobody);
  EXPECT_THAT(child.Signal(SIGTERM),
              StatusIs(absl::ErrnoToStatusCode(ESRCH),
                       ::testing::HasSubstr(
                           absl::StrCat("kill ", kNobody, " signal 15"))));
  std::move(child).Release();
}

}  // namespace
}  // namespace brood::proc

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/hardening/process_identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::RefuseCalls;

constexpr uid_t kNobody = 65534;

// A way in which a process gives up, or gains, rights.
struct Change {
  const char* name;
  // Returns whether this process was allowed to do it.
  bool (*apply)();
  const char* phrase;
};

bool DropCapability(int which) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  (which == 0   ? data[0].effective
   : which == 1 ? data[0].permitted
                : data[0].inheritable) ^= 1U << CAP_KILL;
  if (which == 1) data[0].effective = data[0].permitted;
  return syscall(SYS_capset, &header, data) == 0;
}

constexpr Change kChanges[] = {
    {"RealUser", [] { return setresuid(kNobody, -1, -1) == 0; }, "the user id"},
    {"EffectiveUser", [] { return setresuid(-1, kNobody, -1) == 0; },
     "the user id"},
    {"SavedUser", [] { return setresuid(-1, -1, kNobody) == 0; },
     "the user id"},
    {"UserOfFiles",
     [] {
       setfsuid(kNobody);
       return setfsuid(-1) == static_cast<int>(kNobody);
     },
     "the user id"},
    {"RealGroup", [] { return setresgid(kNobody, -1, -1) == 0; },
     "the group id"},
    {"EffectiveGroup", [] { return setresgid(-1, kNobody, -1) == 0; },
     "the group id"},
    {"SavedGroup", [] { return setresgid(-1, -1, kNobody) == 0; },
     "the group id"},
    {"GroupOfFiles",
     [] {
       setfsgid(kNobody);
       return setfsgid(-1) == static_cast<int>(kNobody);
     },
     "the group id"},
    {"Groups",
     [] {
       const gid_t others[] = {4711, 4712};
       return setgroups(2, others) == 0;
     },
     "the groups"},
    {"EffectiveCapability", [] { return DropCapability(0); },
     "the capabilities"},
    {"PermittedCapability", [] { return DropCapability(1); },
     "the capabilities"},
    {"InheritableCapability", [] { return DropCapability(2); },
     "the capabilities"},
    {"BoundingCapability",
     [] { return prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0) == 0; },
     "the capabilities"},
    {"NoNewPrivs", [] { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0; },
     "no_new_privs"},
    {"SecureBits",
     [] { return prctl(PR_SET_SECUREBITS, 1 << 4, 0, 0, 0) == 0; },
     "the secure bits"},
    {"Filter",
     [] {
       // Without the privilege, no_new_privs is set as well, and named first.
       RefuseCalls({SYS_kexec_load}, EPERM);
       return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
     },
     "the filter of system calls"},
    {"Root", [] { return chroot("/proc") == 0; }, "the root directory"},
    {"Network", [] { return unshare(CLONE_NEWNET) == 0; }, "a namespace"},
    {"Mounts", [] { return unshare(CLONE_NEWNS) == 0; }, "a namespace"},
};

class ProcessIdentityTest : public ::brood::testing::LeakCheck,
                            public ::testing::WithParamInterface<Change> {};

TEST_P(ProcessIdentityTest, NamesWhatHasChanged) {
  const Change& change = GetParam();
  const pid_t child = fork();
  if (child == 0) {
    const ProcessIdentity before = ProcessIdentity::Look();
    if (!before.DifferenceTo(ProcessIdentity::Look()).empty()) _exit(1);
    if (!change.apply()) _exit(2);
    const std::string phrase = before.DifferenceTo(ProcessIdentity::Look());
    if (phrase == change.phrase) _exit(0);
    std::fprintf(stderr, "\"%s\" has changed\n", phrase.c_str());
    _exit(3);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "not allowed here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

INSTANTIATE_TEST_SUITE_P(Of, ProcessIdentityTest, ::testing::ValuesIn(kChanges),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// LookAgain(), for a loop, reads only the rights of this process.
TEST_P(ProcessIdentityTest, LookAgainFindsChangedRights) {
  const Change& change = GetParam();
  const std::string phrase = change.phrase;
  if (phrase == "a namespace" ||
      std::string(change.name) == "BoundingCapability") {
    GTEST_SKIP() << "affects only executed programs, or reopened files";
  }
  const pid_t child = fork();
  if (child == 0) {
    const ProcessIdentity before = ProcessIdentity::Look();
    ProcessIdentity now;
    before.LookAgain(&now);
    if (!before.DifferenceTo(now).empty()) _exit(1);
    if (!change.apply()) _exit(2);
    before.LookAgain(&now);
    _exit(before.DifferenceTo(now) == phrase ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "not allowed here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Only an inheritable capability can become an ambient one.
TEST(ProcessIdentityAloneTest, NamesAnAmbientCapability) {
  const pid_t child = fork();
  if (child == 0) {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    syscall(SYS_capget, &header, data);
    data[0].inheritable |= 1U << CAP_KILL;
    if (syscall(SYS_capset, &header, data) != 0) _exit(2);
    const ProcessIdentity before = ProcessIdentity::Look();
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) < 0) {
      _exit(2);
    }
    const bool is_named = before.DifferenceTo(ProcessIdentity::Look()) ==
                          std::string("the capabilities");
    _exit(is_named ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "not allowed here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ProcessIdentityAloneTest, IgnoresDirectoryAndUmask) {
  const pid_t child = fork();
  if (child == 0) {
    const ProcessIdentity before = ProcessIdentity::Look();
    umask(0777);
    if (chdir("/") != 0) _exit(1);
    _exit(before.DifferenceTo(ProcessIdentity::Look()).empty() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace brood::proc

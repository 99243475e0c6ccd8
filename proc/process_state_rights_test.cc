// SPDX-License-Identifier: Apache-2.0

// The identity and the rights of a process in a ProcessState: a handler that
// changes one of them alone must be noticed.

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "brood/proc/process_state.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr uid_t kNobody = 65534;
constexpr uint32_t kKill = 1U << CAP_KILL;

// The sets of capabilities of a process.
struct Capabilities {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};

  Capabilities() { syscall(SYS_capget, &header, sets); }
  // Returns whether the kernel allows it.
  bool Set() { return syscall(SYS_capset, &header, sets) == 0; }
};

// Returns whether CAP_KILL became inheritable, so that it may become ambient.
bool BecomeInheritable() {
  Capabilities capabilities;
  capabilities.sets[0].inheritable |= kKill;
  return capabilities.Set();
}

struct Change {
  const char* name;
  // Returns whether this process was allowed to make the change.
  bool (*make)();
  // Prepares it, so that nothing else changes with it; null if there is
  // nothing to prepare.
  bool (*prepare)() = nullptr;
};

const Change kChanges[] = {
    {"Name", [] { return prctl(PR_SET_NAME, "another") == 0; }},
    {"Group", [] { return setpgid(0, 0) == 0; }},
    // A new session is a new group as well.
    {"Session", [] { return setsid() > 0; }},
    {"SavedUser", [] { return setresuid(-1, -1, kNobody) == 0; }},
    {"SavedGroup", [] { return setresgid(-1, -1, kNobody) == 0; }},
    {"Groups",
     [] {
       const gid_t others[] = {4711, 4712};
       return setgroups(2, others) == 0;
     }},
    {"EffectiveCapability",
     [] {
       Capabilities capabilities;
       capabilities.sets[0].effective &= ~kKill;
       return capabilities.Set();
     }},
    {"PermittedCapability",
     [] {
       Capabilities capabilities;
       capabilities.sets[0].permitted &= ~kKill;
       return capabilities.Set();
     },
     [] {
       Capabilities capabilities;
       capabilities.sets[0].effective &= ~kKill;
       return capabilities.Set();
     }},
    {"InheritableCapability", BecomeInheritable},
    {"AmbientCapability",
     [] {
       return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0;
     },
     BecomeInheritable},
    {"BoundingCapability",
     [] { return prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0) == 0; }},
    {"Filter",
     [] {
       ::brood::testing::RefuseCalls({SYS_kexec_load}, EPERM);
       return true;
     },
     [] { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0; }},
    {"SpeculativeStoreBypass",
     [] {
       return prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS,
                    PR_SPEC_DISABLE, 0, 0) == 0;
     }},
    {"SpeculativeIndirectBranch",
     [] {
       return prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH,
                    PR_SPEC_DISABLE, 0, 0) == 0;
     }},
    // The kernel may not allow other calls.
    {"NicenessUnderAFilter", [] { return nice(1) != -1; },
     [] {
       ::brood::testing::RefuseCalls({SYS_kexec_load}, EPERM);
       return true;
     }},
    {"SchedulingOfChildren",
     [] {
       const sched_param none = {};
       return sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none) ==
              0;
     }},
};

class ProcessStateRightsTest : public ::brood::testing::LeakCheck,
                               public ::testing::WithParamInterface<Change> {};

TEST_P(ProcessStateRightsTest, DetectsAChangeOfOneAlone) {
  const Change& change = GetParam();
  const pid_t child = fork();
  if (child == 0) {
    if (change.prepare != nullptr && !change.prepare()) _exit(2);
    ProcessState pristine;
    if (!pristine.Restore()) _exit(1);
    if (!change.make()) _exit(2);
    _exit(pristine.Restore() ? 3 : 0);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "not allowed here";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "3: the change was not detected";
}

INSTANTIATE_TEST_SUITE_P(Of, ProcessStateRightsTest,
                         ::testing::ValuesIn(kChanges),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace brood::proc

// SPDX-License-Identifier: Apache-2.0
//
// Settings that a handler leaves changed for the next client of its process,
// and false reports: rows A14 and A15. With a pool, a changed setting is
// restored, or the worker is replaced, or docs/threat_model.md lists the
// setting.

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "brood/server/connection_report.h"
#include "brood/server/options.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/forged_report.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// IOPRIO_CLASS_IDLE. Not from linux/ioprio.h, which is not valid C++ since
// Linux 6.5 (and some updates of 6.1).
constexpr int kIdlePriority = 3 << 13;

class LeftoversTest : public AttackTest {};

INSTANTIATE_TEST_SUITE_P(With, LeftoversTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

// Leftover is a setting that a handler can leave changed.
struct Leftover {
  // The name in docs/threat_model.md.
  std::string name;
  // Changes the setting.
  std::function<void(TakenOverChild&)> change;
  // Returns the setting as a later client sees it.
  std::function<int64_t(TakenOverChild&)> look;
  // Whether the setting belongs to an open file, which all processes share.
  bool is_of_a_file = false;
};

// Returns the number that follows `field` in /proc/self/status.
int64_t StatusOf(TakenOverChild& child, absl::string_view field) {
  const std::string status = child.ReadFile("/proc/self/status");
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (!absl::ConsumePrefix(&line, absl::StrCat(field, ":\t"))) continue;
    return std::strtoll(std::string(line).c_str(), nullptr, 10);
  }
  return -1;
}

// Returns a Leftover whose value two calls of prctl() set and return.
Leftover ByPrctl(const std::string& name, int set, uint64_t value, int get) {
  return {name,
          [=](TakenOverChild& child) {
            child.Syscall(SYS_prctl, set, value, 0, 0, 0);
          },
          [=](TakenOverChild& child) {
            return child.Syscall(SYS_prctl, get, 0, 0, 0, 0).value;
          }};
}

// Returns a Leftover whose value the second call stores at an address.
Leftover ByPrctlAt(const std::string& name, int set, uint64_t value, int get) {
  Leftover leftover = ByPrctl(name, set, value, get);
  leftover.look = [=](TakenOverChild& child) {
    const uint64_t address = child.PutValue(int{-1});
    child.Syscall(SYS_prctl, get, address, 0, 0, 0);
    return int64_t{child.GetValue<int>(address)};
  };
  return leftover;
}

std::vector<Leftover> SchedulingLeftovers() {
  constexpr int kIdle = 5;  // SCHED_IDLE
  return {
      {"affinity",
       [](TakenOverChild& child) {
         const uint64_t mask = child.PutValue(uint64_t{1});
         child.Syscall(SYS_sched_setaffinity, 0, 8, mask);
       },
       [](TakenOverChild& child) {
         const uint64_t mask = child.Put(std::string(1024, '\0'));
         child.Syscall(SYS_sched_getaffinity, 0, 1024, mask);
         return child.GetValue<int64_t>(mask);
       }},
      {"scheduling class",
       [](TakenOverChild& child) {
         child.Syscall(SYS_sched_setscheduler, 0, kIdle, child.PutValue(0));
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_sched_getscheduler, 0).value;
       }},
      {"niceness",
       [](TakenOverChild& child) {
         child.Syscall(SYS_setpriority, PRIO_PROCESS, 0, 7);
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_getpriority, PRIO_PROCESS, 0).value;
       }},
      {"I/O priority",
       [](TakenOverChild& child) {
         child.Syscall(SYS_ioprio_set, 1, 0, kIdlePriority);
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_ioprio_get, 1, 0).value;
       }},
      ByPrctl("timer slack", PR_SET_TIMERSLACK, 1000000000, PR_GET_TIMERSLACK),
      {"interval timer",
       [](TakenOverChild& child) {
         const itimerval timer = {{0, 0}, {100000, 0}};
         child.Syscall(SYS_setitimer, ITIMER_REAL, child.PutValue(timer), 0);
       },
       [](TakenOverChild& child) {
         const uint64_t timer = child.PutValue(itimerval{});
         child.Syscall(SYS_getitimer, ITIMER_REAL, timer);
         return int64_t{child.GetValue<itimerval>(timer).it_value.tv_sec > 0};
       }},
  };
}

std::vector<Leftover> ProcessLeftovers() {
  return {
      ByPrctlAt("parent-death signal", PR_SET_PDEATHSIG, 0, PR_GET_PDEATHSIG),
      ByPrctlAt("subreaper", PR_SET_CHILD_SUBREAPER, 1, PR_GET_CHILD_SUBREAPER),
      {"dumpable flag",
       [](TakenOverChild& child) {
         const int64_t now =
             child.Syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0).value;
         child.Syscall(SYS_prctl, PR_SET_DUMPABLE, 1 - now, 0, 0, 0);
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0).value;
       }},
      ByPrctl("huge pages", PR_SET_THP_DISABLE, 1, PR_GET_THP_DISABLE),
      ByPrctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1, PR_GET_NO_NEW_PRIVS),
      {"oom_score_adj",
       [](TakenOverChild& child) {
         const int64_t file = child.Open("/proc/self/oom_score_adj", 1).value;
         child.Syscall(SYS_write, file, child.Put("999"), 3);
         child.Syscall(SYS_close, file);
       },
       [](TakenOverChild& child) {
         int64_t score = -1;
         return absl::SimpleAtoi(child.ReadFile("/proc/self/oom_score_adj"),
                                 &score)
                    ? score
                    : -1;
       }},
      {"personality",
       [](TakenOverChild& child) {
         child.Syscall(SYS_personality, ADDR_NO_RANDOMIZE);
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_personality, 0xffffffffu).value;
       }},
      {"resource limit",
       [](TakenOverChild& child) {
         child.Syscall(SYS_prlimit64, 0, RLIMIT_NOFILE,
                       child.PutValue(rlimit{50, 50}), 0);
       },
       [](TakenOverChild& child) {
         const uint64_t limit = child.PutValue(rlimit{});
         child.Syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, limit);
         return static_cast<int64_t>(child.GetValue<rlimit>(limit).rlim_cur);
       }},
      {"umask", [](TakenOverChild& child) { child.Syscall(SYS_umask, 0777); },
       [](TakenOverChild& child) { return StatusOf(child, "Umask"); }},
      {"working directory",
       [](TakenOverChild& child) {
         child.Syscall(SYS_chdir, child.Put("/proc"));
       },
       [](TakenOverChild& child) {
         const uint64_t name = child.Put(std::string(256, ' '));
         return child.Syscall(SYS_getcwd, name, 256).value;
       }},
      {"child process",
       [](TakenOverChild& child) { child.CloneAndWait(SIGCHLD); },
       [](TakenOverChild& child) {
         return int64_t{!child.ReadFile("/proc/thread-self/children").empty()};
       }},
  };
}

std::vector<Leftover> MemoryAndFileLeftovers() {
  return {
      {"mapping",
       [](TakenOverChild& child) {
         child.Syscall(SYS_mmap, 0, 64 << 20, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       },
       [](TakenOverChild& child) {
         return StatusOf(child, "VmSize") / (48 << 10);
       }},
      {"locked memory",
       [](TakenOverChild& child) {
         child.Syscall(SYS_mlock, child.Put("x"), 16);
       },
       [](TakenOverChild& child) { return StatusOf(child, "VmLck"); }},
      {"signal stack",
       [](TakenOverChild& child) {
         stack_t stack = {};
         stack.ss_sp = reinterpret_cast<void*>(child.Put(""));
         stack.ss_size = 65536;
         child.Syscall(SYS_sigaltstack, child.PutValue(stack), 0);
       },
       [](TakenOverChild& child) {
         const uint64_t stack = child.PutValue(stack_t{});
         child.Syscall(SYS_sigaltstack, 0, stack);
         return int64_t{child.GetValue<stack_t>(stack).ss_size > 0};
       }},
      {"ignored signal",
       [](TakenOverChild& child) {
         const uint64_t ignore[4] = {1, 0, 0, 0};
         child.Syscall(SYS_rt_sigaction, SIGUSR1, child.PutValue(ignore), 0, 8);
       },
       [](TakenOverChild& child) {
         const uint64_t action = child.Put(std::string(32, '\0'));
         child.Syscall(SYS_rt_sigaction, SIGUSR1, 0, action, 8);
         return child.GetValue<int64_t>(action);
       }},
      {"blocked signal",
       [](TakenOverChild& child) {
         const uint64_t mask = child.PutValue(uint64_t{1} << (SIGUSR1 - 1));
         child.Syscall(SYS_rt_sigprocmask, SIG_BLOCK, mask, 0, 8);
       },
       [](TakenOverChild& child) {
         const uint64_t mask = child.PutValue(uint64_t{0});
         child.Syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, mask, 8);
         return child.GetValue<int64_t>(mask);
       }},
      {"descriptor",
       [](TakenOverChild& child) { child.Syscall(SYS_dup3, 2, 50, 0); },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_fcntl, 50, F_GETFD).value;
       }},
      {"flags of descriptor 0",
       [](TakenOverChild& child) {
         child.Syscall(SYS_fcntl, 0, F_SETFL, O_NONBLOCK);
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_fcntl, 0, F_GETFL).value & O_NONBLOCK;
       },
       true},
      {"owner of descriptor 2",
       [](TakenOverChild& child) {
         child.Syscall(SYS_fcntl, 2, F_SETOWN,
                       child.Syscall(SYS_getppid).value);
       },
       [](TakenOverChild& child) {
         return child.Syscall(SYS_fcntl, 2, F_GETOWN).value;
       },
       true},
      {"name",
       [](TakenOverChild& child) {
         child.Syscall(SYS_prctl, PR_SET_NAME, child.Put("another"), 0, 0, 0);
       },
       [](TakenOverChild& child) {
         const uint64_t name = child.Put(std::string(16, '\0'));
         child.Syscall(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
         return child.GetValue<int64_t>(name);
       }},
  };
}

std::vector<Leftover> Leftovers() {
  std::vector<Leftover> all = SchedulingLeftovers();
  for (const auto& more : {ProcessLeftovers(), MemoryAndFileLeftovers()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// Returns the text of docs/threat_model.md.
std::string ThreatModel() {
  std::ifstream file("docs/threat_model.md");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST_P(LeftoversTest, AreNotSeenByALaterClientButForThoseInTheTable) {
  const std::string page = ThreatModel();
  ASSERT_TRUE(absl::StrContains(page, "# Threat model"));
  int seen = 0, changed = 0;
  std::string names;
  for (const Leftover& leftover : Leftovers()) {
    SCOPED_TRACE(leftover.name);
    TestServer::Setup setup = AttackSetup();
    setup.options.pool.workers = 1;
    setup.options.spares.min = setup.options.spares.max = 1;
    setup.options.on_parent_death = server::OnParentDeath::kDie;
    const auto server = StartVictim(leftover.name, std::move(setup));
    int64_t at_first, then, later;
    {
      TakenOverChild child = TakeOver(*server);
      at_first = leftover.look(child);
      leftover.change(child);
      then = leftover.look(child);
      child.Return();
      child.client().ReadUntilEof().IgnoreError();
    }
    {
      TakenOverChild child = TakeOver(*server);
      later = leftover.look(child);
      child.Exit(0);
    }
    if (then != at_first) ++changed;
    if (then == at_first || later == at_first) continue;
    ++seen;
    absl::StrAppend(&names, names.empty() ? "" : ", ", leftover.name);
    EXPECT_TRUE(!row().one_each || leftover.is_of_a_file);
    EXPECT_TRUE(absl::StrContains(page, absl::StrCat("`", leftover.name, "`")))
        << "a later client sees it, and docs/threat_model.md does not list it";
  }
  std::cout << "A14 " << row().name() << ": " << seen << " of " << changed
            << " leftovers are seen by the next client: " << names << "\n";
}

// A child reports what it has used and its exit code, both false.
TEST_P(LeftoversTest, ReportsAreClamped) {
  for (const uint32_t first : {0u, ForgedReport::kMark}) {
    TestServer::Setup setup = AttackSetup();
    setup.options.pool.workers = 1;
    setup.options.on_connection_end = [](const server::ConnectionReport& end) {
      const rusage& usage = end.status.usage();
      EXPECT_GE(usage.ru_utime.tv_sec, 0);
      EXPECT_GE(usage.ru_utime.tv_usec, 0);
      EXPECT_LT(usage.ru_utime.tv_usec, 1000000);
      EXPECT_GE(usage.ru_stime.tv_sec, 0);
      EXPECT_GE(usage.ru_maxrss, 0);
      EXPECT_GE(usage.ru_minflt, 0);
      EXPECT_LT(usage.ru_utime.tv_sec, 1000);
      EXPECT_GE(end.duration, absl::ZeroDuration());
    };
    const auto server = StartVictim("A15 usage and times", std::move(setup));
    TakenOverChild child = TakeOver(*server);
    for (const int64_t extreme : {-(int64_t{1} << 62), INT64_MAX, INT64_MIN}) {
      ForgedReport report = {first, 1, INT32_MAX, 0, extreme, {}};
      report.usage.ru_utime = {extreme, extreme};
      report.usage.ru_stime = {extreme, extreme};
      report.usage.ru_maxrss = report.usage.ru_minflt = extreme;
      for (const int fd : child.UnixSockets()) {
        child.Syscall(SYS_sendto, fd, child.PutValue(report), sizeof(report),
                      MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
      }
    }
    child.Exit(0);
    child.client().Close();
    ExpectHarmless(*server);
  }
}

}  // namespace
}  // namespace brood::testing

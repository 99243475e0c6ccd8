// SPDX-License-Identifier: Apache-2.0
//
// The table of docs/threat_model.md: what a child that was taken over can do to
// its parent, to a sibling and to processes that wait, by strategy. The test
// measures each cell, prints it as "k of n succeed", and expects what the page
// promises.

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "brood/net/connection.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

constexpr int kAttackers = 3;

// Each process of the server has this variable at the same address. A child
// that was taken over sets it.
volatile int taken_over = 0;

// How the processes of the server are separated.
enum class Level {
  // One user for all. The parent is the program of an embedder.
  kLibrary,
  // The same, but the parent is not dumpable, nor are its children.
  kNotDumpable,
  // Each child has a user of its own, which prepare_child sets.
  kOwnUser,
};

const char* NameOf(Level level) {
  switch (level) {
    case Level::kLibrary:
      return "library";
    case Level::kNotDumpable:
      return "not dumpable";
    case Level::kOwnUser:
      return "own user";
  }
  return "";
}

// Verb is something that a child tries to do to the process `pid`. It returns
// whether it succeeded, and changes nothing.
struct Verb {
  std::string name;
  // The levels that prevent it.
  bool not_dumpable_prevents, own_user_prevents;
  std::function<bool(TakenOverChild& child, pid_t pid)> succeeds;
};

bool ReadsMemory(TakenOverChild& child, pid_t pid) {
  const uint64_t buffer = child.Put(std::string(8, ' '));
  const iovec here = {reinterpret_cast<void*>(buffer), sizeof(int)};
  const iovec there = {const_cast<int*>(&taken_over), sizeof(int)};
  return child
      .Syscall(SYS_process_vm_readv, pid, child.PutValue(here), 1,
               child.PutValue(there), 1, 0)
      .ok();
}

// Returns whether `path` of /proc/PID can be opened for writing.
bool OpensForWriting(TakenOverChild& child, pid_t pid, const char* name) {
  const TakenOverChild::Result file =
      child.Open(absl::StrCat("/proc/", pid, name), O_WRONLY);
  if (file.ok()) child.Syscall(SYS_close, file.value);
  return file.ok();
}

// Returns whether the process can be traced. The tracer ends at once, so that
// the process is not changed.
bool Traces(TakenOverChild& child, pid_t pid) {
  return child.SyscallInChild(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0).ok();
}

// Returns whether a descriptor of the process for which `wanted` returns true
// can be copied.
bool Steals(TakenOverChild& child, pid_t pid,
            const std::function<bool(int fd)>& wanted) {
  const TakenOverChild::Result pidfd = child.Syscall(SYS_pidfd_open, pid, 0);
  bool stolen = false;
  for (int fd = 0; fd < 40 && pidfd.ok() && !stolen; ++fd) {
    const TakenOverChild::Result copy =
        child.Syscall(SYS_pidfd_getfd, pidfd.value, fd, 0);
    if (!copy.ok()) continue;
    stolen = wanted(static_cast<int>(copy.value));
    child.Syscall(SYS_close, copy.value);
  }
  if (pidfd.ok()) child.Syscall(SYS_close, pidfd.value);
  return stolen;
}

bool StealsSomething(TakenOverChild& child, pid_t pid) {
  return Steals(child, pid, [](int) { return true; });
}

bool StealsAListener(TakenOverChild& child, pid_t pid) {
  return Steals(child, pid, [&](int fd) {
    return child.SocketOption(fd, SO_ACCEPTCONN) == 1;
  });
}

bool StealsAQueue(TakenOverChild& child, pid_t pid) {
  return Steals(child, pid, [&](int fd) {
    return child.SocketOption(fd, SO_DOMAIN) == AF_UNIX;
  });
}

// Returns whether the process can be signalled. The signal is one whose default
// is to be ignored.
bool Signals(TakenOverChild& child, pid_t pid) {
  return child.Syscall(SYS_kill, pid, SIGURG).ok();
}

bool SetsALimit(TakenOverChild& child, pid_t pid) {
  const uint64_t limit = child.PutValue(rlimit{});
  return child.Syscall(SYS_prlimit64, pid, RLIMIT_CORE, 0, limit).ok() &&
         child.Syscall(SYS_prlimit64, pid, RLIMIT_CORE, limit, 0).ok();
}

bool SetsAffinity(TakenOverChild& child, pid_t pid) {
  const uint64_t mask = child.Put(std::string(1024, '\0'));
  const TakenOverChild::Result size =
      child.Syscall(SYS_sched_getaffinity, pid, 1024, mask);
  return size.ok() &&
         child.Syscall(SYS_sched_setaffinity, pid, size.value, mask).ok();
}

bool SetsPriority(TakenOverChild& child, pid_t pid) {
  // The system call returns 20 for a niceness of 0.
  const TakenOverChild::Result priority =
      child.Syscall(SYS_getpriority, PRIO_PROCESS, pid);
  return priority.ok() &&
         child.Syscall(SYS_setpriority, PRIO_PROCESS, pid, 20 - priority.value)
             .ok();
}

// Returns whether this test may change the user of a process.
bool MayChangeUsers() {
  const pid_t pid = fork();
  if (pid == 0) {
    _exit(setgroups(0, nullptr) == 0 && setresuid(40000, 40000, 40000) == 0
              ? 0
              : 1);
  }
  int status = 1;
  TEMP_FAILURE_RETRY(waitpid(pid, &status, 0));
  return status == 0;
}

const std::vector<Verb>& Verbs() {
  static auto* const verbs = new std::vector<Verb>{
      {"read memory (process_vm_readv)", true, true, ReadsMemory},
      {"write memory (/proc/PID/mem)", true, true,
       [](TakenOverChild& child, pid_t pid) {
         return OpensForWriting(child, pid, "/mem");
       }},
      {"trace (PTRACE_SEIZE)", true, true, Traces},
      {"steal a descriptor (pidfd_getfd)", true, true, StealsSomething},
      {"steal a listener", true, true, StealsAListener},
      {"steal a queue", true, true, StealsAQueue},
      // The file then belongs to root, which may be the only user.
      {"set oom_score_adj", MayChangeUsers(), true,
       [](TakenOverChild& child, pid_t pid) {
         return OpensForWriting(child, pid, "/oom_score_adj");
       }},
      {"signal (kill)", false, true, Signals},
      {"set limits (prlimit)", false, true, SetsALimit},
      {"set affinity", false, true, SetsAffinity},
      {"set priority", false, true, SetsPriority},
  };
  return *verbs;
}

class ThreatTableTest : public AttackTest {
 protected:
  // Target is all processes of one kind that children attack.
  struct Target {
    std::string name;
    std::vector<pid_t> pids;
  };

  static TestServer::Setup SetupFor(Level level,
                                    std::atomic<int>* parent_is_dumpable);
  // Tries each verb on each target, and prints a row for each.
  void TryEach(Level level, std::vector<TakenOverChild>& attackers,
               const std::vector<Target>& targets, bool is_not_dumpable);
  // Prints a cell.
  static void Print(Level level, const std::string& verb,
                    const std::string& target, int succeeded, int tried) {
    std::cout << absl::StrFormat("%-12s %-7s %-34s %-8s %d of %d succeed\n",
                                 NameOf(level), row().name(), verb, target,
                                 succeeded, tried);
  }
};

INSTANTIATE_TEST_SUITE_P(With, ThreatTableTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

TestServer::Setup ThreatTableTest::SetupFor(
    Level level, std::atomic<int>* parent_is_dumpable) {
  TestServer::Setup setup =
      level == Level::kOwnUser ? SetupAsRoot() : AttackSetup();
  setup.options.spares.max = kWorkers;
  if (level == Level::kNotDumpable) {
    setup.before = [] {
      BecomeUnprivileged();
      prctl(PR_SET_DUMPABLE, 0);
    };
  }
  if (level == Level::kOwnUser) {
    setup.options.prepare_child = [] {
      const auto user = static_cast<uid_t>(40000 + getpid() % 20000);
      return setgroups(0, nullptr) == 0 && setresgid(user, user, user) == 0 &&
                     setresuid(user, user, user) == 0
                 ? absl::OkStatus()
                 : absl::ErrnoToStatus(errno, "setresuid");
    };
  }
  setup.run = [parent_is_dumpable](server::TcpServer& server) {
    *parent_is_dumpable = prctl(PR_GET_DUMPABLE);
    return server.Run();
  };
  return setup;
}

void ThreatTableTest::TryEach(Level level,
                              std::vector<TakenOverChild>& attackers,
                              const std::vector<Target>& targets,
                              bool is_not_dumpable) {
  for (const Verb& verb : Verbs()) {
    for (const Target& target : targets) {
      int succeeded = 0, tried = 0;
      for (TakenOverChild& attacker : attackers) {
        for (const pid_t pid : target.pids) {
          ++tried;
          if (verb.succeeds(attacker, pid)) ++succeeded;
        }
      }
      if (tried == 0) continue;
      Print(level, verb.name, target.name, succeeded, tried);
      const bool is_promised =
          level == Level::kOwnUser
              ? verb.own_user_prevents && target.name != "waiting"
              : verb.not_dumpable_prevents && is_not_dumpable;
      if (is_promised) {
        EXPECT_EQ(succeeded, 0) << verb.name << ", " << target.name;
      }
    }
  }
}

TEST_P(ThreatTableTest, VerbsOnOtherProcesses) {
  for (const Level level :
       {Level::kLibrary, Level::kNotDumpable, Level::kOwnUser}) {
    SCOPED_TRACE(NameOf(level));
    if (level == Level::kOwnUser && !MayChangeUsers()) {
      std::cout << "own user: the test may not change users\n";
      continue;
    }
    Shared<std::atomic<int>> parent_is_dumpable;
    const auto server = StartVictim(absl::StrCat("table, ", NameOf(level)),
                                    SetupFor(level, &*parent_is_dumpable));
    std::vector<TakenOverChild> attackers = TakeOverMany(*server, kAttackers);
    Target sibling = {"sibling", {0}}, waiting = {"waiting", {}};
    TestClient client = ConnectHonest(*server, &sibling.pids[0]);
    AwaitIdle(server->pid());
    for (const pid_t pid : server->children()) {
      bool is_busy = pid == sibling.pids[0];
      for (TakenOverChild& child : attackers) is_busy |= child.pid() == pid;
      if (!is_busy) waiting.pids.push_back(pid);
    }
    const bool are_closed =
        attackers[0].Syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0).value == 0;
    const bool is_closed = *parent_is_dumpable == 0;
    std::cout << NameOf(level) << " " << row().name() << ": the parent is "
              << (is_closed ? "not " : "") << "dumpable, children are "
              << (are_closed ? "not" : "so") << "\n";
    TryEach(level, attackers, {{"parent", {server->pid()}}}, is_closed);
    TryEach(level, attackers, {sibling, waiting}, are_closed);
    // In a pool a worker is free for other clients then.
    client.Close();
    ExpectHarmless(*server);
  }
}

TEST_P(ThreatTableTest, VerbsOnWhatAChildHas) {
  Shared<std::atomic<int>> ignored;
  const auto server =
      StartVictim("table, own", SetupFor(Level::kLibrary, &*ignored));
  std::vector<TakenOverChild> attackers = TakeOverMany(*server, kAttackers);
  int listeners = 0, queues = 0, lines = 0, sees = 0;
  for (TakenOverChild& child : attackers) {
    int own_listeners = 0;
    for (const int fd : child.Descriptors()) {
      if (child.SocketOption(fd, SO_ACCEPTCONN) == 1) ++own_listeners;
    }
    listeners += own_listeners > 0;
    queues += !child.UnixSockets().empty();
    lines += child.Syscall(SYS_write, STDERR_FILENO, child.Put("\n"), 1).ok();
    sees += absl::StrContains(child.ReadFile("/proc/net/tcp"), "0100007F");
  }
  Print(Level::kLibrary, "has a listener", "own", listeners, kAttackers);
  Print(Level::kLibrary, "has a queue", "own", queues, kAttackers);
  Print(Level::kLibrary, "write to the log", "own", lines, kAttackers);
  Print(Level::kLibrary, "read /proc/net/tcp", "all", sees, kAttackers);
  EXPECT_EQ(listeners, 0);
  if (row().one_each) {
    EXPECT_EQ(queues, 0);
  }
  ExpectHarmless(*server);
}

TEST_P(ThreatTableTest, VerbsOnOtherClientsOfTheProcess) {
  Shared<std::atomic<int>> ignored;
  TestServer::Setup setup = SetupFor(Level::kLibrary, &*ignored);
  setup.options.pool.workers = 1;
  setup.handler = [](net::Connection& connection) {
    return taken_over != 0 ? Reply(connection, "cheated!")
                           : ObeyOrEcho(connection);
  };
  const auto server = StartVictim("table, clients", std::move(setup));
  int earlier = 0, later = 0;
  for (int i = 0; i < kAttackers; ++i) {
    // Not a constant, because the memory of the program contains constants.
    const std::string secret = absl::StrCat("<", 990 - i, "*", 7 + i, ">");
    TestClient client = ConnectTo(*server);
    EXPECT_TRUE(client.Send(absl::StrCat("e", secret, "!")).ok());
    EXPECT_TRUE(client.ReadExactly(8).ok());
    client.Close();
    ExpectRest(*server);
    {
      TakenOverChild child = TakeOver(*server);
      const int one = 1;
      if (kCostOfFork == 1) {
        earlier += absl::StrContains(child.Memory(), secret);
      }
      child.Write(reinterpret_cast<uint64_t>(&taken_over),
                  {reinterpret_cast<const char*>(&one), sizeof(one)});
      child.Return();
      child.client().ReadUntilEof().IgnoreError();
    }
    ExpectRest(*server);
    TestClient after = ConnectTo(*server);
    EXPECT_TRUE(after.Send("equestion").ok());
    later += after.ReadExactly(8).value_or("") == "cheated!";
    after.Close();
    // Ends the worker of a pool, so that the next round has a new one.
    for (const pid_t pid : server->children()) {
      if (!row().one_each) kill(pid, SIGKILL);
    }
    ExpectRest(*server);
  }
  Print(Level::kLibrary, "read memory", "earlier", earlier, kAttackers);
  Print(Level::kLibrary, "serve", "later", later, kAttackers);
  EXPECT_EQ(later, row().one_each ? 0 : kAttackers);
  if (row().one_each) {
    EXPECT_EQ(earlier, 0);
  }
  ExpectHarmless(*server);
}

}  // namespace
}  // namespace brood::testing

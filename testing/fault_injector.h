// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAULT_INJECTOR_H_
#define BROOD_TESTING_FAULT_INJECTOR_H_

#include <sys/syscall.h>
#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

struct seccomp_notif;

namespace brood::testing {

// Example of a test with a FaultInjector:
//   TEST_F(ServerTest, ServesOnWhenAcceptForkAndWaitFail) {
//     if (!FaultInjector::Supported().ok()) GTEST_SKIP();
//     FaultInjector faults({FaultInjector::kAccept, FaultInjector::kFork,
//                           FaultInjector::kWait});
//     faults.Fail(FaultInjector::kAccept, ENOMEM, /*first=*/2, /*count=*/3);
//     faults.Fail(FaultInjector::kFork, EAGAIN, /*first=*/3);
//     faults.Fail(FaultInjector::kWait, EINTR);
//     TestServer::Setup setup;
//     setup.before = [&] { faults.Install(); };
//     auto server = StartServer(std::move(setup));
//     for (int client = 1; client <= 10; ++client) {
//       EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk()) << client;
//     }
//     EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
//     EXPECT_EQ(faults.failed(FaultInjector::kAccept), 3);
//   }

// FaultInjector makes chosen system calls of a server process fail, as scripted
// by the test, and counts them. The server needs no special build.
//
//   server process ──accept4()──▶ kernel ──"may it?"──▶ a thread of the test
//         ▲                                                     │
//         └───── its result, or ENOMEM ◀── "go on" / "ENOMEM" ◀─┘
//
// The server process installs a seccomp filter in `before` of its setup. Each
// chosen call then waits until the thread has answered: go on, or fail with an
// errno. No privileges and no ptrace. Only the process that called Install(),
// or that AimAt() chose, is counted and failed; the calls of its descendants,
// which inherit the filter, always go on. Descriptors, threads and signals of
// the server process are not changed.
//
// Belongs to the test process, one thread of which scripts and counts. Must
// outlive the server process: without the thread each chosen call would fail
// with ENOSYS. In a fixture: a member of a class derived from ServerTest.
//
// Functions that are given a call which the constructor was not given throw
// std::out_of_range. For what to script, and what not, see Fail().
class FaultInjector {
 public:
  // Stands for the creation of a process: clone3, and clone where clone3 is not
  // available. The first process of a server serves no client: it is created
  // before the server is ready.
  static constexpr int kFork = SYS_clone3;
  // Stands for the call by which the server accepts.
  static constexpr int kAccept = SYS_accept4;
  // Stands for the call by which the server reaps.
  static constexpr int kWait = SYS_wait4;

  // Returns OK if this machine has all of seccomp user notification (Linux 5.19
  // and later, and not every sandbox), or FailedPrecondition, with what is
  // missing: a reason to skip a test.
  static absl::Status Supported();

  // Chooses `calls`, each kFork, kAccept, kWait or another SYS_... number, but
  // neither close nor what else Install() needs, such as sendmsg.
  explicit FaultInjector(const std::vector<int>& calls);
  FaultInjector(const FaultInjector&) = delete;
  FaultInjector& operator=(const FaultInjector&) = delete;
  // Ends the thread. Chosen calls of a server process that still runs fail with
  // ENOSYS from then on.
  ~FaultInjector();

  // Installs the filter. To be called in the server process, once, before it
  // makes a call of interest. Aborts that process, with the reason, on a
  // machine that Supported() refuses.
  void Install();

  // Counts and fails the calls of process `pid` from now on, instead of those
  // of the process that called Install(). To be called in the test process.
  void AimAt(pid_t pid);
  // Fails calls number `first` to `first + count - 1`, counted from now on,
  // with `error`, a positive errno. If calls were scripted before, counts from
  // the last of these.
  //
  // Script only what the kernel could return, because the server believes it. A
  // wait that fails with ECHILD means that another wait has reaped the child:
  // the server records an unknown outcome, frees the slot and does not wait for
  // the child again, so an existing child stays a zombie (unless the server
  // owns all children). A wait that does not block is never interrupted: the
  // server repeats it as long as it fails with EINTR.
  //
  // To fail one call site only, or thousands of calls in a row, Brood's own
  // tests use syscalls/syscall_table.h.
  void Fail(int call, int error, int64_t first = 1, int64_t count = 1);
  // Fails every call from now on, until Relieve().
  void FailAlways(int call, int error);
  // Removes what was scripted for `call`: no such call fails any more.
  void Relieve(int call);

  // Returns how many calls there were. A call that a signal interrupts while it
  // waits for the answer is repeated by the kernel, and counted once.
  int64_t calls(int call) const;
  // Returns how many of the calls were failed.
  int64_t failed(int call) const;
  // Waits until there were `count` calls. Returns DeadlineExceeded after
  // `timeout`.
  absl::Status AwaitCalls(int call, int64_t count,
                          absl::Duration timeout = absl::Seconds(10)) const;

 private:
  // Fault is a part of the script of a system call.
  struct Fault {
    int error;
    int64_t pass;  // how many calls go on before the first that fails
    int64_t fail;  // how many calls fail then
  };
  // Call is the counts and the script of a system call.
  struct Call {
    int64_t calls = 0;
    int64_t failed = 0;
    std::vector<Fault> script;
  };

  // Runs in the thread, until the end of the test or of the server process.
  void Answer();
  // Waits for the listener that Install() sends, and aims at the process that
  // sent it. Returns false if the test is over, or if no listener comes.
  bool AwaitListener();
  // Waits until a call waits for an answer. Returns false when no process has
  // the filter any more, or the test is over.
  bool AwaitQuestion();
  // Receives a question and answers it. A call whose thread was interrupted
  // meanwhile is not counted, because the kernel repeats it.
  void AnswerOne();
  // Counts a call of the target, and returns the errno that it must fail with;
  // 0 if it must go on, as the calls of other processes must.
  int Decide(const seccomp_notif& question);

  std::map<int, Call> calls_;  // the keys never change
  mutable std::mutex mutex_;   // guards the values of calls_, and target_
  mutable std::condition_variable changed_;

  bool waiting_ = false;  // whether the thread waits for a server process yet

  // The two ends of the socket by which the server process sends the listener
  // of the filter.
  int sender_fd_ = -1;
  int receiver_fd_ = -1;
  int stop_fd_ = -1;      // an eventfd, readable when the thread must end
  int listener_fd_ = -1;  // used by the thread alone
  pid_t target_ = 0;

  std::thread thread_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAULT_INJECTOR_H_

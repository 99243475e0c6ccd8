// SPDX-License-Identifier: Apache-2.0

// FaultInjector: makes system calls of an unmodified server process fail, as
// scripted, and counts them.
//
// The server process installs a seccomp filter for the listed calls, in
// TestServer's `before`; each of them then asks a thread of the test process,
// which lets it go on or fails it with an errno. No ptrace, no privileges, no
// build of its own. Only one process is counted and failed: the one that called
// Install(), or the one of its descendants that it was aimed at afterwards.
// They inherit the filter, but otherwise their calls always go on.
//
//   server process ──accept4()──▶ kernel ──"may it?"──▶ a thread of the test
//         ▲                                                     │
//         └───── its result, or ENOMEM ◀── "go on" / "ENOMEM" ◀─┘
//
// Script what the kernel might say, and beware of what it never would: the
// framework believes it. A wait that fails with ECHILD means that the child was
// reaped by somebody else; its server records an unknown fate, frees the slot
// and does not ask for it again, so a child that there is stays a zombie
// (unless the server owns all children). And a wait that does not block is
// never interrupted, so the server tries again as long as it fails with EINTR.
//
// What it does not disturb: the census of the server process (no descriptor of
// the injector stays open there), its threads (none), its signals (a call that
// a signal interrupts while it asks is asked for, and counted, once).
//
// Must outlive the server process: without an answer every listed call would
// fail with ENOSYS. In a fixture: a member of the class derived from
// ServerTest. Not for sendmsg, close and what else Install() needs. Script and
// count in the test process, from one thread.
//
// Errors: Install() aborts the server process, with the reason, on a machine
// without all of seccomp user notification (Linux before 5.19, some sandboxes);
// Supported() says so beforehand. An errno is a positive number. A call that
// the constructor was not told of is std::out_of_range.
//
// To fail one call site and not another, or many thousand times in a row,
// Brood's own tests have syscalls/syscall_table.h, which tells when to use
// which.
//
// Example:
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

class FaultInjector {
 public:
  // To be listed and scripted for "a process is created": clone3, and clone
  // where clone3 is not to be had. The first process of a server serves no
  // client: it is created before the server is ready.
  static constexpr int kFork = SYS_clone3;
  // The calls by which the framework accepts and waits, for those who do not
  // want to know their numbers. Any other SYS_... will do as well.
  static constexpr int kAccept = SYS_accept4;
  static constexpr int kWait = SYS_wait4;

  // OK if this machine has what it takes. Otherwise FailedPrecondition, with
  // what is missing: a reason to skip a test.
  static absl::Status Supported();

  explicit FaultInjector(const std::vector<int>& calls);
  FaultInjector(const FaultInjector&) = delete;
  FaultInjector& operator=(const FaultInjector&) = delete;
  ~FaultInjector();

  // In the server process, once, and before it does anything of interest.
  void Install();

  // In the test process. From now on `pid` is the process that is meant.
  void AimAt(pid_t pid);
  // The calls `first` to `first + count - 1` from now on
  // fail with `error`, once those scripted before have all failed.
  void Fail(int call, int error, int64_t first = 1, int64_t count = 1);
  // Every call from now on fails, until Relieve().
  void FailAlways(int call, int error);
  // Forgets what was scripted for `call`, which now goes on.
  void Relieve(int call);

  // How many calls there were, and how many of them were failed.
  int64_t calls(int call) const;
  int64_t failed(int call) const;
  // Waits until there were `count` of them.
  absl::Status AwaitCalls(int call, int64_t count,
                          absl::Duration patience = absl::Seconds(10)) const;

 private:
  struct Fault {
    int error;
    int64_t pass;  // so many go on before the first that fails
    int64_t fail;
  };
  struct Call {
    int64_t calls = 0;
    int64_t failed = 0;
    std::vector<Fault> script;
  };

  void Answer();
  bool AwaitListener();
  bool AwaitQuestion();
  void AnswerOne();
  int Decide(const seccomp_notif& question);

  std::map<int, Call> calls_;  // the keys never change
  mutable std::mutex mutex_;   // guards what is in them, and target_
  mutable std::condition_variable changed_;

  bool waiting_ = false;  // the thread has begun to wait for a server process

  // How the listener comes from the server process, and how the thread is told
  // to end.
  int sender_fd_ = -1;
  int receiver_fd_ = -1;
  int stop_fd_ = -1;
  int listener_fd_ = -1;  // only the thread's
  pid_t target_ = 0;

  std::thread thread_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAULT_INJECTOR_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_TRACING_TRACER_H_
#define BROOD_TESTING_SUPPORT_TRACING_TRACER_H_

#include <sys/types.h>

#include <vector>

namespace brood::testing {

// Tracer is a process that traces other processes and waits for none of them,
// so that their parent cannot reap them when they have died.
//
// Lives in the test process, whose child the tracer is. Errors: a process that
// cannot be traced fails the test.
//
// Example:
//   Tracer tracer({child});
//   kill(child, SIGKILL);
//   ... child is a zombie ...
//   tracer.LetGo();
class Tracer {
 public:
  // Traces each of the threads or processes `tids`.
  explicit Tracer(const std::vector<pid_t>& tids);
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;
  // Ends the tracer.
  ~Tracer() { LetGo(); }

  // Ends the tracer, and returns when it has ended: the processes are then not
  // traced any more.
  void LetGo();
  // Returns the pid of the tracer; 0 when it has ended.
  pid_t pid() const { return pid_; }

  // Waits until every thread of `pid` has ended; the process cannot be reaped.
  static void AwaitDeath(pid_t pid);

 private:
  pid_t pid_ = 0;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_TRACING_TRACER_H_

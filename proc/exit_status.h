// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_EXIT_STATUS_H_
#define BROOD_PROC_EXIT_STATUS_H_

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <string>

namespace brood::proc {

// ExitStatus is how a child ended, with the resources that it used.
//
// A value of the parent's. There are three ways to end:
//   exited    it called _exit(code)
//   killed    a signal ended it, its own (SIGSEGV) or one that was sent to it
//   unknown   another wait call took the status, or SIGCHLD was ignored when
//             it mattered: the child is gone; or a tracer holds the status of
//             the dead child, or the child cannot be killed and was given up
//
// Example:
//   std::cerr << "pid " << pid << " " << status.ToString() << std::endl;
//   // pid 4711 killed by SIGSEGV (Segmentation fault), core dumped
class ExitStatus {
 public:
  // Returns the end of which wait4 stored `wait_status`. What is neither an
  // exit nor a death by a signal that exists is unknown.
  static ExitStatus FromWait(int wait_status, const rusage& usage) {
    const bool is_end =
        WIFEXITED(wait_status) ||
        (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) < NSIG);
    if (!is_end) return Unknown();
    return ExitStatus(Kind::kKnown, wait_status, usage);
  }
  // Returns the end of a process by _exit(code), or of a piece of work by a
  // process that goes on.
  static ExitStatus Exited(int code, const rusage& usage) {
    return ExitStatus(Kind::kKnown, W_EXITCODE(code & 0xff, 0), usage);
  }
  // Returns an end of which nothing is known.
  static ExitStatus Unknown() {
    return ExitStatus(Kind::kUnknown, 0, rusage());
  }
  // Returns the end of a child that is dead, and whose status a tracer holds.
  static ExitStatus Held() { return ExitStatus(Kind::kHeld, 0, rusage()); }
  // Returns the state of a child that was given up because it does not end.
  static ExitStatus GivenUp() {
    return ExitStatus(Kind::kGivenUp, 0, rusage());
  }

  bool exited() const {
    return kind_ == Kind::kKnown && WIFEXITED(wait_status_);
  }
  bool killed() const {
    return kind_ == Kind::kKnown && WIFSIGNALED(wait_status_);
  }
  bool unknown() const { return kind_ != Kind::kKnown; }
  // Returns whether it is that of Held().
  bool held() const { return kind_ == Kind::kHeld; }
  // Returns whether it is that of GivenUp().
  bool given_up() const { return kind_ == Kind::kGivenUp; }

  // Returns the argument of _exit; meaningful if exited().
  int code() const { return WEXITSTATUS(wait_status_); }
  // Returns the signal, which is below NSIG; meaningful if killed().
  int signal() const { return WTERMSIG(wait_status_); }
  // Returns what wait4 stored; meaningful unless unknown().
  int wait_status() const { return wait_status_; }
  bool core_dumped() const { return killed() && WCOREDUMP(wait_status_); }

  // Returns processor time, peak memory, page faults; zeros if unknown().
  const rusage& usage() const { return usage_; }

  // Returns a sentence without its subject: "exited with code 3".
  std::string ToString() const;
  // Prints the same into `text` without an allocation, cut off at its end.
  // Returns `text`.
  const char* Print(char* text, size_t size) const;

 private:
  enum class Kind { kKnown, kUnknown, kHeld, kGivenUp };

  ExitStatus(Kind kind, int wait_status, const rusage& usage)
      : kind_(kind), wait_status_(wait_status), usage_(usage) {}

  Kind kind_;
  int wait_status_;
  rusage usage_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_EXIT_STATUS_H_

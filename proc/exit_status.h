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
// A value, for the parent. There are three kinds:
//   exited    the child called _exit(code)
//   killed    a signal ended it, raised by itself (SIGSEGV) or sent to it
//   unknown   the child is gone, and another wait call took the status, or the
//             kernel kept none because SIGCHLD was ignored; or a tracer holds
//             the status (held); or the child cannot be killed (given up)
//
// Example:
//   std::cerr << "pid " << pid << " " << status.ToString() << std::endl;
//   // pid 4711 killed by SIGSEGV (Segmentation fault), core dumped
class ExitStatus {
 public:
  // Returns the status for which wait4 stored `wait_status`. A value that is
  // neither an exit nor a death by a signal below NSIG becomes unknown.
  static ExitStatus FromWait(int wait_status, const rusage& usage) {
    const bool is_end =
        WIFEXITED(wait_status) ||
        (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) < NSIG);
    if (!is_end) return Unknown();
    return ExitStatus(Kind::kKnown, wait_status, usage);
  }
  // Returns the status of a process that called _exit(code), or of a piece of
  // work that ended with this code in a process that continues.
  static ExitStatus Exited(int code, const rusage& usage) {
    return ExitStatus(Kind::kKnown, W_EXITCODE(code & 0xff, 0), usage);
  }
  // Returns the status of a child that is gone and whose status is not known.
  static ExitStatus Unknown() {
    return ExitStatus(Kind::kUnknown, 0, rusage());
  }
  // Returns the status of a child that is dead, and whose status a tracer
  // holds.
  static ExitStatus Held() { return ExitStatus(Kind::kHeld, 0, rusage()); }
  // Returns the status of a child that was given up because it does not end.
  static ExitStatus GivenUp() {
    return ExitStatus(Kind::kGivenUp, 0, rusage());
  }

  // Reports whether the child called _exit().
  bool exited() const {
    return kind_ == Kind::kKnown && WIFEXITED(wait_status_);
  }
  // Reports whether a signal ended the child.
  bool killed() const {
    return kind_ == Kind::kKnown && WIFSIGNALED(wait_status_);
  }
  // Reports whether the status is not known, that of Held() and GivenUp()
  // included.
  bool unknown() const { return kind_ != Kind::kKnown; }
  // Reports whether this is the status of Held().
  bool held() const { return kind_ == Kind::kHeld; }
  // Reports whether this is the status of GivenUp().
  bool given_up() const { return kind_ == Kind::kGivenUp; }

  // Returns the argument of _exit; meaningful if exited().
  int code() const { return WEXITSTATUS(wait_status_); }
  // Returns the signal, which is below NSIG; meaningful if killed().
  int signal() const { return WTERMSIG(wait_status_); }
  // Returns what wait4 stored; meaningful unless unknown().
  int wait_status() const { return wait_status_; }
  // Reports whether a signal ended the child and the kernel wrote a core file.
  bool core_dumped() const { return killed() && WCOREDUMP(wait_status_); }

  // Returns the resources that the child used (processor time, peak memory,
  // page faults); zeros if unknown().
  const rusage& usage() const { return usage_; }

  // Returns the text for a log: "exited with code 3".
  std::string ToString() const;
  // Writes the same text and a NUL into `text`, of `size` bytes, without an
  // allocation; a longer text is cut off. Returns `text`.
  const char* Print(char* text, size_t size) const;

 private:
  enum class Kind { kKnown, kUnknown, kHeld, kGivenUp };

  // Makes a status from its parts. `wait_status` and `usage` are zero unless
  // `kind` is kKnown.
  ExitStatus(Kind kind, int wait_status, const rusage& usage)
      : kind_(kind), wait_status_(wait_status), usage_(usage) {}

  Kind kind_;
  int wait_status_;
  rusage usage_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_EXIT_STATUS_H_

// ExitStatus: how a child ended, in the kernel's words.
//
// A value: what wait4 said, with the resources that the child used. The child's
// own word for it, the exit code, is in code() when it exited by itself.
//
// Works in the parent, after the child was reaped. Nothing here can fail. Three
// ways to end:
//   exited    it called _exit(code)
//   killed    a signal ended it, its own (SIGSEGV) or somebody's (SIGKILL)
//   unknown   somebody else took the status, or SIGCHLD was ignored when it
//             mattered; the child is gone, that much is certain
//
// Example:
//   std::cerr << "pid " << pid << " " << status.ToString() << std::endl;
//   // pid 4711 killed by SIGSEGV (Segmentation fault), core dumped

#ifndef BROOD_PROC_EXIT_STATUS_H_
#define BROOD_PROC_EXIT_STATUS_H_

#include <sys/resource.h>
#include <sys/wait.h>

#include <string>

namespace brood::proc {

class ExitStatus {
 public:
  // What wait4 stored.
  static ExitStatus FromWait(int wait_status, const rusage& usage) {
    return ExitStatus(true, wait_status, usage);
  }
  // Of a process that ends, or of one that goes on and says what a piece of its
  // work ended with.
  static ExitStatus Exited(int code, const rusage& usage) {
    return ExitStatus(true, W_EXITCODE(code & 0xff, 0), usage);
  }
  static ExitStatus Unknown() { return ExitStatus(false, 0, rusage()); }

  bool exited() const { return known_ && WIFEXITED(wait_status_); }
  bool killed() const { return known_ && WIFSIGNALED(wait_status_); }
  bool unknown() const { return !known_; }

  // The argument of _exit; meaningful if exited().
  int code() const { return WEXITSTATUS(wait_status_); }
  // The signal; meaningful if killed().
  int signal() const { return WTERMSIG(wait_status_); }
  // Returns what wait4 stored; meaningful unless unknown().
  int wait_status() const { return wait_status_; }
  bool core_dumped() const { return killed() && WCOREDUMP(wait_status_); }

  // Processor time, peak memory, page faults; zeros if unknown().
  const rusage& usage() const { return usage_; }

  // A sentence without its subject: "exited with code 3".
  std::string ToString() const;
  // The same into `text` without an allocation, cut off at its end. Gives
  // `text`.
  const char* Print(char* text, size_t size) const;

 private:
  ExitStatus(bool known, int wait_status, const rusage& usage)
      : known_(known), wait_status_(wait_status), usage_(usage) {}

  bool known_;
  int wait_status_;
  rusage usage_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_EXIT_STATUS_H_

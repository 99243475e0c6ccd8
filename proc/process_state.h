// ProcessState: what a piece of work may leave changed in its process, for the
// next one to stumble over.
//
// For a process that does one piece of foreign work after another. It looks
// once, before the first, and after each puts back what can be put back and
// says whether the rest is as it was:
//
//   put back    descriptors opened since (closed), umask, signal mask
//   compared    descriptors closed or replaced since, working and root
//               directory, environment, niceness, session and process group, ignored and handled signals, interval and POSIX
//               timers, resource limits, user and group ids, capabilities,
//               no_new_privs, seccomp, children, threads
//
// Memory is not looked at: what a handler writes to its program's variables is
// between it and itself.
//
// Most of it the kernel tells in one file, /proc/self/status; it costs some 15
// µs in all. Lives in the process that it describes, which is single-threaded,
// and keeps two descriptors open there. Errors: what can't be looked at counts
// as changed.
//
// Example:
//   ProcessState pristine;
//   do Work(); while (pristine.Restore());

#ifndef BROOD_PROC_PROCESS_STATE_H_
#define BROOD_PROC_PROCESS_STATE_H_

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

namespace brood::proc {

class ProcessState {
 public:
  // Looks at this process.
  ProcessState();
  ProcessState(const ProcessState&) = delete;
  ProcessState& operator=(const ProcessState&) = delete;
  ~ProcessState();

  // Whether it is as it was, now that what can be put back is.
  bool Restore();

 private:
  // What a number or a name stands for.
  struct File {
    dev_t device = 0;
    ino_t inode = 0;

    static File From(const struct stat& status) {
      return {status.st_dev, status.st_ino};
    }
    friend bool operator==(const File& a, const File& b) {
      return a.device == b.device && a.inode == b.inode;
    }
  };
  struct OpenFile {
    unsigned fd;
    File file;
  };

  // Nothing in particular if it can't be told.
  static File FileAt(const char* path);
  bool DescriptorsRestored() const;
  bool SameDescriptors() const;
  std::string KernelsWord() const;
  bool SameEnvironment() const;
  bool NoTimers();
  bool SameLimits() const;

  // /proc/self/status and /proc/self/fd; -1 if there is no such file.
  int status_fd_;
  int fd_list_fd_;
  bool descriptors_listed_ = false;
  std::vector<OpenFile> descriptors_;  // in ascending order
  File directory_;
  File root_;
  int nice_;
  mode_t umask_;
  char** environ_;
  std::vector<char*> variables_;
  std::vector<std::string> values_;
  sigset_t mask_;
  bool leaves_zombies_;
  std::string kernels_word_;
  int next_timer_id_ = -1;
  std::array<rlimit, RLIM_NLIMITS> limits_ = {};
};

}  // namespace brood::proc

#endif  // BROOD_PROC_PROCESS_STATE_H_

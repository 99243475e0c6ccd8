// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_PROCESS_STATE_H_
#define BROOD_PROC_PROCESS_STATE_H_

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace brood::proc {

// ProcessState is what a piece of work may leave changed in its process, for
// the next one to depend on.
//
// For a process that does one piece of foreign work after another. It looks
// once, before the first, and after each puts back what can be put back, and
// says whether the rest is as it was. Which is which, and what is not looked
// at, is the table in docs/decisions/process_state.md. Memory is not looked at:
// what a handler writes to its program's variables is its own affair.
//
// Most of it the kernel reports in one file, /proc/self/status; it costs some
// 20 us in all. Where a filter of system calls is in force at the first look,
// only those calls are made that were made before that table grew: the filter
// may kill for another one.
//
// Process: the one that it describes, which is single-threaded; keeps three
// descriptors open there. Errors: what cannot be looked at counts as changed.
//
// Example:
//   ProcessState pristine;
//   do { Work(); } while (pristine.Restore());
class ProcessState {
 public:
  // Looks at this process.
  ProcessState();
  ProcessState(const ProcessState&) = delete;
  ProcessState& operator=(const ProcessState&) = delete;
  ~ProcessState();

  // Puts back what can be put back, but for the signal mask. Returns whether
  // the process is as it was.
  bool Restore();
  // Puts the signal mask back, which may deliver a signal.
  void RestoreMask() const;

 private:
  // File is what a number or a name stands for.
  struct File {
    dev_t device = 0;
    ino_t inode = 0;
    uint64_t mount = 0;  // of a directory

    static File From(const struct stat& status) {
      return {status.st_dev, status.st_ino, 0};
    }
    friend bool operator==(const File& a, const File& b) {
      return a.device == b.device && a.inode == b.inode && a.mount == b.mount;
    }
  };
  // OpenFile is a descriptor, with what can be changed about it.
  struct OpenFile {
    unsigned fd;
    File file;
    int descriptor_flags;
    int status_flags;
    int owner;
    // Whether this object opened it. What it reads there shows that it is the
    // same.
    bool is_own = false;
  };
  static constexpr size_t kNumbers = 17;

  // Returns nothing in particular if it cannot be told.
  File FileAt(const char* path) const;
  static OpenFile Look(unsigned fd, const File& file);
  bool IsOwn(int fd) const;
  // Returns whether `known` is what it was, now that its flags are put back.
  static bool PutBack(const OpenFile& known);
  bool DescriptorsRestored() const;
  bool SameDescriptors() const;
  std::string Status() const;
  std::array<int64_t, kNumbers> Numbers() const;
  bool SameEnvironment() const;
  bool NoTimers();
  bool SameLimits() const;

  // /proc/self/status, fd and oom_score_adj; -1 if there is no such file.
  int status_fd_;
  int fd_list_fd_;
  int oom_score_fd_;
  bool descriptors_listed_ = false;
  std::vector<OpenFile> descriptors_;  // in ascending order
  File fd_list_;
  File directory_;
  File root_;
  int nice_;
  mode_t umask_;
  char** environ_;
  std::vector<char*> variables_;
  std::vector<std::string> values_;
  sigset_t mask_;
  bool leaves_zombies_;
  std::string status_;       // the lines of /proc/self/status that are watched
  bool has_filter_ = false;  // of system calls
  std::array<int64_t, kNumbers> numbers_;
  int next_timer_id_ = -1;
  std::array<rlimit, RLIM_NLIMITS> limits_ = {};
};

}  // namespace brood::proc

#endif  // BROOD_PROC_PROCESS_STATE_H_

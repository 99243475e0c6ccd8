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

// ProcessState is the state of a process that a piece of foreign work can
// change, and on which the next piece of work depends.
//
// For a process that runs one piece of work after another, such as a worker. It
// records the state before the first one. After each, it restores what can be
// restored and reports whether the rest is unchanged. Which part is which, and
// what is not checked, is the table in docs/decisions/process_state.md. Memory
// is not checked: the variables of its program belong to the handler.
//
// Lives in the process that it describes, which has one thread, and keeps three
// descriptors open there. A check costs about 20 us. Errors: a part that cannot
// be read counts as changed.
//
// Example:
//   ProcessState pristine;
//   do { Work(); } while (pristine.Restore());
class ProcessState {
 public:
  // Records the state of this process.
  ProcessState();
  ProcessState(const ProcessState&) = delete;
  ProcessState& operator=(const ProcessState&) = delete;
  // Closes the descriptors of this object.
  ~ProcessState();

  // Restores what can be restored, except for the signal mask. Returns whether
  // the process is in the recorded state.
  bool Restore();
  // Restores the signal mask, which may deliver a signal. Called after
  // Restore(), which finds out whether it has changed.
  void RestoreMask();

 private:
  // File identifies the file that a descriptor or a path stands for.
  struct File {
    dev_t device = 0;
    ino_t inode = 0;
    dev_t special = 0;   // the device that it stands for, of a descriptor
    uint64_t mount = 0;  // of a directory

    // Returns the identity of the file of `status`, without the mount.
    static File From(const struct stat& status) {
      return {status.st_dev, status.st_ino, status.st_rdev, 0};
    }
    friend bool operator==(const File& a, const File& b) {
      return a.device == b.device && a.inode == b.inode && a.mount == b.mount;
    }
  };
  // OpenFile is a descriptor with its settings, which work can change.
  struct OpenFile {
    unsigned fd;
    File file;
    int descriptor_flags;
    int status_flags;
    int owner;
    // Whether this object opened it. Its content shows that it was not
    // replaced.
    bool is_own = false;
  };
  // Block is a part of the memory of this process, and its recorded content.
  struct Block {
    const char* begin;
    std::string content;
  };
  static constexpr size_t kNumbers = 17;

  // Returns the file at `path`; the default File if it cannot be read.
  File FileAt(const char* path) const;
  // Returns the state of the descriptor `fd`, which stands for `file`.
  static OpenFile Look(unsigned fd, const File& file);
  // Reports whether this object opened `fd`.
  bool IsOwn(int fd) const;
  // Restores the flags of the descriptor `known`. Returns whether it is in the
  // recorded state then.
  static bool PutBack(const OpenFile& known);
  // Closes the descriptors that were opened since the state was recorded.
  // Returns false, and closes none, if SameDescriptors() does, or if the list
  // of descriptors cannot be read or was replaced.
  bool DescriptorsRestored() const;
  // Restores the flags of the recorded descriptors, except those of this
  // object. Returns whether each is in the recorded state then, and stops at
  // the first one that is not.
  bool SameDescriptors() const;
  // Returns the checked lines of /proc/self/status, each between two newlines,
  // in the order of the file; none if it cannot be read.
  std::vector<std::string> Status() const;
  // Reports whether /proc/self/status has the recorded lines; false if it
  // cannot be read, now or when the state was recorded. Restores the umask, and
  // sets `mask_changed_`, instead of comparing these two.
  bool SameStatus();
  // Returns numbers of which each is the result of one system call. For a call
  // that the kernel does not have, the number is the same error each time. With
  // a filter of system calls, reads only the first one.
  std::array<int64_t, kNumbers> Numbers() const;
  // Records the environment variables of this process.
  void RecordEnvironment();
  // Reports whether the environment has the recorded variables with the
  // recorded texts, in the same order and at the same addresses.
  bool SameEnvironment() const;
  // Reports whether no interval timer runs, and no POSIX timer was created
  // since the last call, or since the state was recorded.
  bool NoTimers();
  // Reports whether the resource limits are those that were recorded; false if
  // one cannot be read.
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
  std::vector<char*> variables_;  // the array, with its null pointer
  std::vector<Block> values_;
  bool status_has_umask_ = false;
  sigset_t mask_;
  bool mask_changed_ = false;
  bool leaves_zombies_;
  // The checked lines of /proc/self/status.
  std::vector<std::string> status_;
  // Whether a filter of system calls was in force when the state was recorded.
  // Then some parts are not checked: the filter may kill the process for the
  // calls that they need.
  bool has_filter_ = false;
  std::array<int64_t, kNumbers> numbers_;
  int next_timer_id_ = -1;
  std::array<rlimit, RLIM_NLIMITS> limits_ = {};
};

}  // namespace brood::proc

#endif  // BROOD_PROC_PROCESS_STATE_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_OUTPUT_LOG_DESCRIPTOR_H_
#define BROOD_SERVER_LOG_OUTPUT_LOG_DESCRIPTOR_H_

#include <sys/types.h>

#include <array>

#include "absl/types/optional.h"
#include "brood/net/unique_fd.h"

namespace brood::server {

// FileId identifies an open file, whatever descriptors lead to it.
struct FileId {
  // Returns the identity of the file to which `fd` leads; nothing if it is
  // closed.
  static absl::optional<FileId> Of(int fd);

  friend bool operator==(const FileId& a, const FileId& b) {
    return a.device == b.device && a.inode == b.inode;
  }

  dev_t device = 0;
  ino_t inode = 0;
};

// LogDescriptor is a descriptor to write lines to, with the way in which a
// write does not wait for a reader.
//
// A log is its file, which is the one that the descriptor led to when this
// object was made. Another file that gets the number later is not written to.
//
// The flags and the position of an open file are shared with all that have it:
// the user's shell, children. So OpenAgain() opens the file a second time, and
// where that is not possible makes a copy of the descriptor, which at least
// does not depend on the number. What others can do to a copy: see Kind.
//
// A resource; works in every process. Errors: one that is closed is kClosed.
//
// Example:
//   const LogDescriptor log = LogDescriptor::OpenAgain(STDERR_FILENO);
class LogDescriptor {
 public:
  // Kind is what the file is, and so how it is written to.
  enum class Kind {
    // There was no file.
    kClosed,
    // A file or a device that takes what it gets. One that was not opened to
    // append has its position in common with others, and is a copy.
    kFile,
    // A socket: send() has a flag not to wait. That of the journal, and one for
    // datagrams to an address, is connected a second time; another one is a
    // copy, which any process that has it can shut down.
    kSocket,
    // A pipe or a terminal that was opened again and does not wait.
    kNonBlocking,
    // A pipe that belongs to another user and cannot be opened again.
    kPipe,
    // A terminal that cannot be opened again either. It alone may make the
    // writer wait, if others fill it between a look and the write.
    kTerminal,
  };

  // Opens the file of `fd` again, for a process that goes on to write to it.
  static LogDescriptor OpenAgain(int fd);
  // Borrows `fd` for a few lines: opens only what would wait otherwise.
  static LogDescriptor Borrow(int fd);

  // Returns what the file is.
  Kind kind() const { return kind_; }
  // Lends the descriptor.
  int fd() const { return own_.valid() ? own_.fd() : lent_; }
  // Returns whether the file is still there: a number that was borrowed may
  // lead to another one by now.
  bool IsSame() const { return own_.valid() || FileId::Of(lent_) == file_; }
  // Returns which file it is; nothing if it was closed.
  const absl::optional<FileId>& file() const { return file_; }
  // Lends the ends of a pipe of this object, to read and to write; for kPipe on
  // a kernel that cannot write to a pipe without waiting (before Linux 6.5).
  const net::UniqueFd& read_end() const { return read_end_; }
  const net::UniqueFd& write_end() const { return write_end_; }
  // Returns all descriptors that this object has opened, to be closed in
  // children; -1 in the place of one that it has not.
  std::array<int, 3> own_fds() const {
    return {own_.fd(), read_end_.fd(), write_end_.fd()};
  }

 private:
  explicit LogDescriptor(int fd) : lent_(fd), file_(FileId::Of(fd)) {}

  // Makes a copy of the descriptor.
  void Copy();
  // Opens the pipe or terminal again.
  void OpenNonBlocking(bool is_pipe);

  int lent_;
  absl::optional<FileId> file_;
  Kind kind_ = Kind::kClosed;
  net::UniqueFd own_, read_end_, write_end_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_OUTPUT_LOG_DESCRIPTOR_H_

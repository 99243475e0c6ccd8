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

// LogDescriptor is a descriptor to which lines are written, and the way in
// which a write to it does not wait for a reader.
//
// The log is the file to which the descriptor led when this object was created.
// Nothing is written to another file that gets the number later.
//
// All processes that have an open file share its flags and its position: the
// user's shell, children. So OpenAgain() opens the file a second time. Where
// that is not possible, it makes a copy of the descriptor, which at least does
// not depend on the number. Kind describes what other processes can do to a
// copy.
//
// A resource; works in every process. Errors: if the descriptor is closed, the
// kind is kClosed.
//
// Example:
//   const LogDescriptor log = LogDescriptor::OpenAgain(STDERR_FILENO);
class LogDescriptor {
 public:
  // Kind is the kind of the file, which decides how lines are written to it.
  enum class Kind {
    // There was no file.
    kClosed,
    // A file, or a device that never blocks. A file that was not opened to
    // append shares its position with other processes, and is a copy.
    kFile,
    // A socket: send() has a flag not to wait. The socket of the journal, and a
    // socket for datagrams to an address, is connected a second time. Any other
    // socket is a copy, which every process that has it can shut down.
    kSocket,
    // A pipe or a terminal that was opened again, with O_NONBLOCK.
    kNonBlocking,
    // A pipe that belongs to another user and cannot be opened again.
    kPipe,
    // A terminal that cannot be opened again. Only here may the writer wait: if
    // other writers fill the terminal between the check and the write.
    kTerminal,
  };

  // Opens the file of `fd` again, for a process that writes many lines.
  static LogDescriptor OpenAgain(int fd);
  // Borrows `fd` for a few lines: opens the file again only if a write could
  // wait otherwise.
  static LogDescriptor Borrow(int fd);

  // Returns the kind of the file.
  Kind kind() const { return kind_; }
  // Lends the descriptor.
  int fd() const { return own_.valid() ? own_.fd() : lent_; }
  // Returns whether the descriptor still leads to the file: a borrowed number
  // may lead to another file by now.
  bool IsSame() const { return own_.valid() || FileId::Of(lent_) == file_; }
  // Returns the identity of the file; nothing if the descriptor was closed.
  const absl::optional<FileId>& file() const { return file_; }
  // Lends the end to read of a pipe of this object; for kPipe on a kernel that
  // cannot write to a pipe without waiting (before Linux 6.5).
  const net::UniqueFd& read_end() const { return read_end_; }
  // Lends the end to write of the same pipe.
  const net::UniqueFd& write_end() const { return write_end_; }
  // Returns the three descriptors of this object, to be closed in children; -1
  // for each that it has not opened.
  std::array<int, 3> own_fds() const {
    return {own_.fd(), read_end_.fd(), write_end_.fd()};
  }

 private:
  // Borrows `fd`, and records to which file it leads. The caller sets the kind.
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

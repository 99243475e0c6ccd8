// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_UNIX_FILE_SOCKET_FILE_H_
#define BROOD_NET_UNIX_FILE_SOCKET_FILE_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"

namespace brood::net {

// FileState is what is at the path of a listening unix socket.
enum class FileState {
  // The file of this socket: clients that connect to the path reach the socket.
  kOurs,
  // No file: it has been removed.
  kMissing,
  // Another file: that of another socket, or no socket at all.
  kForeign,
  // The file of a socket, and it is not known of which one: the kernel does not
  // report it (see unix_diag.h), or this process may not look at the path.
  kUnknown,
};

// Returns what a client finds at `path` if it looks for the listening unix
// socket `fd`. Follows links, as connect() does.
FileState LookForSocketFile(int fd, const std::string& path);

// Reports whether `a` and `b` lead to the same file, or would if it existed:
// one directory and one name. Links, "//" and ".." do not matter.
bool IsSameFile(const std::string& a, const std::string& b);

// Sets the permissions of the file at `path`, which bind() has just created, to
// `mode`. Never changes another file, whatever another process puts in its
// place meanwhile.
//
// Errors, beginning with "chmod PATH": Aborted if the file is not a socket, the
// errno of a call. Where /proc is not mounted and other users may write to the
// directory: FailedPrecondition, with that text.
absl::Status SetModeOfNewFile(const std::string& path, mode_t mode);
// Does the same for a socket `fd` that has been listening for some time.
// Returns FailedPrecondition also if the file is not certainly that of `fd`.
absl::Status SetModeOfFileOf(int fd, const std::string& path, mode_t mode);

// NewSocketFile removes the file of a socket that was just bound, unless Keep()
// is called, so that a start that fails leaves no file behind.
//
// A resource of the parent: it can be moved and not copied. Destroy it while
// the socket is open, or another server may have the file by then.
//
// Example:
//   NewSocketFile file("/run/x.sock");  // right after bind()
//   if (listen(fd, backlog) < 0) return ErrorAt("listen");
//   file.Keep();
class NewSocketFile {
 public:
  // Removes nothing.
  NewSocketFile() = default;
  // Remembers which file is at `path` now. An empty path stands for no file.
  explicit NewSocketFile(std::string path);
  // Takes over the file of `other`, which then removes nothing.
  NewSocketFile(NewSocketFile&& other) noexcept;
  // Removes the file so far and takes over that of `other`.
  NewSocketFile& operator=(NewSocketFile&& other) noexcept;
  // Removes the file, if the same one is still there.
  ~NewSocketFile();

  // Leaves the file where it is.
  void Keep() { path_.clear(); }

 private:
  // Removes the file at the path, if it is still the one that the constructor
  // found there. Ignores errors.
  void Remove();

  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace brood::net

#endif  // BROOD_NET_UNIX_FILE_SOCKET_FILE_H_

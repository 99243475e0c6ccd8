// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_UNIX_FILE_SOCKET_FILE_H_
#define BROOD_NET_UNIX_FILE_SOCKET_FILE_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"

namespace brood::net {

// FileState is what is at the path of a listening unix socket.
enum class FileState {
  // The file of this socket: clients that connect to the path reach it.
  kOurs,
  // No file: it has been removed.
  kMissing,
  // Another file: that of another socket, or no socket at all.
  kForeign,
  // A socket's file, and it cannot be told of which socket: the kernel does not
  // answer (see unix_diag.h), or this process may not look at the path.
  kUnknown,
};

// Returns what a client finds at `path` that looks for the listening unix
// socket `fd`. Links are followed, as connect() does.
FileState LookForSocketFile(int fd, const std::string& path);

// Reports whether `a` and `b` lead to the same file, or would if it existed:
// one directory and one name. Links, "//" and ".." do not matter.
bool IsSameFile(const std::string& a, const std::string& b);

// Gives the file at `path` the permissions `mode`. Never changes another file,
// whatever another process may put in its place meanwhile.
//
// The first one is for a file that bind() has just created, which nothing but a
// socket may have replaced; the second one for a socket that has been listening
// for some time: the file must be that of `fd`.
//
// Errors, beginning with "chmod PATH": FailedPrecondition if that is not
// certain, Aborted if the file is no socket, the errno of a call. Where /proc
// is not mounted, FailedPrecondition that says so, if others may write to the
// directory.
absl::Status SetModeOfNewFile(const std::string& path, mode_t mode);
absl::Status SetModeOfFileOf(int fd, const std::string& path, mode_t mode);

// NewSocketFile removes the file of a socket that was bound, unless it is kept:
// a start that fails leaves nothing behind.
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
  // Makes an object that removes nothing.
  NewSocketFile() = default;
  // Remembers which file is at `path` now. An empty path is no file.
  explicit NewSocketFile(std::string path);
  NewSocketFile(NewSocketFile&& other) noexcept;
  NewSocketFile& operator=(NewSocketFile&& other) noexcept;
  // Removes the file, if the same one is still there.
  ~NewSocketFile();

  // Leaves the file where it is.
  void Keep() { path_.clear(); }

 private:
  void Remove();

  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace brood::net

#endif  // BROOD_NET_UNIX_FILE_SOCKET_FILE_H_

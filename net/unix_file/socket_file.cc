// SPDX-License-Identifier: Apache-2.0

#include "brood/net/unix_file/socket_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/net/unique_fd.h"
#include "brood/net/unix_file/unix_diag.h"

namespace brood::net {
namespace {

absl::Status ErrorAt(absl::string_view call, const std::string& path) {
  const int error = errno;
  return absl::ErrnoToStatus(error,
                             absl::StrCat(call, " ", absl::CHexEscape(path)));
}

UniqueFd OpenPath(const std::string& path, int flags) {
  return UniqueFd::Adopt(open(path.c_str(), O_PATH | O_CLOEXEC | flags));
}

std::string DirectoryOf(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

bool AreSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Reports whether `file`, opened as `fd`, is the one that sock_diag describes.
bool IsFile(int fd, const struct stat& file,
            const UnixSocketState::BoundFile& bound) {
  if (static_cast<uint32_t>(file.st_ino) != bound.inode) return false;
  if (major(file.st_dev) == bound.major && minor(file.st_dev) == bound.minor) {
    return true;
  }
  // There stat() reports another device than that of the file system.
  struct statfs system = {};
  return fstatfs(fd, &system) == 0 && (system.f_type == OVERLAYFS_SUPER_MAGIC ||
                                       system.f_type == BTRFS_SUPER_MAGIC);
}

// Compares `file`, opened by O_PATH as `path_fd`, with that of the socket `fd`.
FileState Compare(int fd, int path_fd, const struct stat& file) {
  if (!S_ISSOCK(file.st_mode)) return FileState::kForeign;
  const absl::optional<UnixSocketState> state = AskAboutUnixSocket(fd);
  if (!state || !state->file) return FileState::kUnknown;
  return IsFile(path_fd, file, *state->file) ? FileState::kOurs
                                             : FileState::kForeign;
}

// Reports whether no other user can put another file in the place of `file` in
// `directory`: only this user and root may write there, or the sticky bit
// leaves each file to its owner.
bool IsProtected(const struct stat& directory, const struct stat& file) {
  const uid_t user = geteuid();
  const auto is_trusted = [user](uid_t owner) {
    return owner == user || owner == 0;
  };
  if (!is_trusted(directory.st_uid)) return false;
  if ((directory.st_mode & (S_IWGRP | S_IWOTH)) == 0) return true;
  return (directory.st_mode & S_ISVTX) != 0 && is_trusted(file.st_uid);
}

// Changes the mode of `file` by its name, for a process without /proc. Between
// a look at the name and its use no other user may be able to change it.
absl::Status SetModeByName(const std::string& path, const struct stat& file,
                           mode_t mode) {
  const UniqueFd directory = UniqueFd::Adopt(
      open(DirectoryOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat about = {}, named = {};
  if (!directory.valid()) return ErrorAt("open the directory of", path);
  if (fstat(directory.fd(), &about) < 0) return ErrorAt("fstat", path);
  if (!IsProtected(about, file)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "chmod ", absl::CHexEscape(path),
        ": /proc is not mounted, and without it this is not safe in a "
        "directory that others may change: mount /proc, or remove the write "
        "permission of others for the directory"));
  }
  const std::string name = path.substr(path.rfind('/') + 1);
  if (fstatat(directory.fd(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) < 0) {
    return ErrorAt("fstatat", path);
  }
  if (!AreSame(named, file)) {
    return absl::AbortedError(absl::StrCat("chmod ", absl::CHexEscape(path),
                                           ": another file is there now"));
  }
  if (fchmodat(directory.fd(), name.c_str(), mode, 0) < 0) {
    return ErrorAt("chmod", path);
  }
  return absl::OkStatus();
}

// Changes the mode of `file`, opened by O_PATH as `path_fd`. By descriptor, so
// that a file that was put in its place is neither followed nor changed.
absl::Status SetMode(int path_fd, const struct stat& file,
                     const std::string& path, mode_t mode) {
  if ((file.st_mode & 07777) == mode) return absl::OkStatus();
  if (chmod(absl::StrCat("/proc/self/fd/", path_fd).c_str(), mode) == 0) {
    return absl::OkStatus();
  }
  const bool has_no_proc =
      errno == ENOENT || errno == ENOTDIR || errno == EACCES;
  return has_no_proc ? SetModeByName(path, file, mode) : ErrorAt("chmod", path);
}

}  // namespace

FileState LookForSocketFile(int fd, const std::string& path) {
  const UniqueFd found = OpenPath(path, 0);
  struct stat file = {};
  if (!found.valid()) {
    const bool missing = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    return missing ? FileState::kMissing : FileState::kUnknown;
  }
  if (fstat(found.fd(), &file) < 0) return FileState::kUnknown;
  return Compare(fd, found.fd(), file);
}

bool IsSameFile(const std::string& a, const std::string& b) {
  struct stat file_a = {}, file_b = {};
  if (stat(a.c_str(), &file_a) == 0 && stat(b.c_str(), &file_b) == 0) {
    return AreSame(file_a, file_b);
  }
  return a.substr(a.rfind('/') + 1) == b.substr(b.rfind('/') + 1) &&
         stat(DirectoryOf(a).c_str(), &file_a) == 0 &&
         stat(DirectoryOf(b).c_str(), &file_b) == 0 && AreSame(file_a, file_b);
}

absl::Status SetModeOfNewFile(const std::string& path, mode_t mode) {
  const UniqueFd found = OpenPath(path, O_NOFOLLOW);
  struct stat file = {};
  if (!found.valid()) return ErrorAt("open", path);
  if (fstat(found.fd(), &file) < 0) return ErrorAt("fstat", path);
  if (!S_ISSOCK(file.st_mode)) {
    return absl::AbortedError(absl::StrCat("chmod ", absl::CHexEscape(path),
                                           ": it is not a socket any more"));
  }
  return SetMode(found.fd(), file, path, mode);
}

absl::Status SetModeOfFileOf(int fd, const std::string& path, mode_t mode) {
  const UniqueFd found = OpenPath(path, 0);
  struct stat file = {};
  if (!found.valid()) return ErrorAt("open", path);
  if (fstat(found.fd(), &file) < 0) return ErrorAt("fstat", path);
  if ((file.st_mode & 07777) == mode) return absl::OkStatus();
  switch (Compare(fd, found.fd(), file)) {
    case FileState::kOurs:
      return SetMode(found.fd(), file, path, mode);
    case FileState::kUnknown:
      return absl::FailedPreconditionError(
          absl::StrCat("chmod ", absl::CHexEscape(path),
                       ": it is not known whether the file is that of this "
                       "socket: the kernel does not report it (sock_diag; "
                       "AF_NETLINK may be forbidden)"));
    default:
      return absl::FailedPreconditionError(
          absl::StrCat("chmod ", absl::CHexEscape(path),
                       ": the file is not that of this socket"));
  }
}

NewSocketFile::NewSocketFile(std::string path) : path_(std::move(path)) {
  struct stat file = {};
  if (path_.empty() || lstat(path_.c_str(), &file) < 0) {
    path_.clear();
    return;
  }
  device_ = file.st_dev;
  inode_ = file.st_ino;
}

NewSocketFile::NewSocketFile(NewSocketFile&& other) noexcept
    : path_(std::exchange(other.path_, "")),
      device_(other.device_),
      inode_(other.inode_) {}

NewSocketFile& NewSocketFile::operator=(NewSocketFile&& other) noexcept {
  if (this == &other) return *this;
  Remove();
  path_ = std::exchange(other.path_, "");
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

NewSocketFile::~NewSocketFile() { Remove(); }

void NewSocketFile::Remove() {
  struct stat file = {};
  if (path_.empty() || lstat(path_.c_str(), &file) < 0) return;
  if (file.st_dev == device_ && file.st_ino == inode_) unlink(path_.c_str());
}

}  // namespace brood::net

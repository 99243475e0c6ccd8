// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/program_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace brood::server {
namespace {

absl::Status Error(absl::StatusCode code, absl::string_view name,
                   absl::string_view why) {
  return absl::Status(
      code, absl::StrCat("program=", absl::CHexEscape(name), ": ", why));
}

// Returns 0 if this process may execute the file, or the reason as an errno.
int WhyNotExecutable(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) < 0) return errno;
  if (S_ISDIR(status.st_mode)) return EISDIR;
  if (!S_ISREG(status.st_mode)) return EACCES;
  // Checks for the effective user, as execve() does.
  return faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) < 0 ? errno : 0;
}

absl::StatusOr<std::string> Absolute(absl::string_view name,
                                     absl::string_view path) {
  if (absl::StartsWith(path, "/")) return std::string(path);
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof(directory)) == nullptr) {
    return Error(absl::StatusCode::kNotFound, name,
                 "the working directory cannot be found; write an absolute "
                 "path");
  }
  return absl::StrCat(directory, "/", path);
}

}  // namespace

absl::StatusOr<std::string> FindProgram(absl::string_view name,
                                        absl::string_view directories) {
  if (name.empty() || absl::StrContains(name, '\0')) {
    return Error(absl::StatusCode::kNotFound, name, "must name a program");
  }
  if (absl::StrContains(name, '/')) {
    absl::StatusOr<std::string> path = Absolute(name, name);
    if (!path.ok()) return path;
    const int error = WhyNotExecutable(*path);
    if (error == 0) return path;
    return Error(absl::ErrnoToStatusCode(error), name,
                 absl::ErrnoToStatus(error, "cannot be executed").message());
  }
  bool is_forbidden = false;
  for (const absl::string_view directory : absl::StrSplit(directories, ':')) {
    absl::StatusOr<std::string> path =
        Absolute(name, directory.empty() ? std::string(name)
                                         : absl::StrCat(directory, "/", name));
    if (!path.ok()) continue;
    const int error = WhyNotExecutable(*path);
    if (error == 0) return path;
    is_forbidden |= error == EACCES;
  }
  if (is_forbidden) {
    return Error(absl::StatusCode::kPermissionDenied, name,
                 "the file of this name in PATH cannot be executed");
  }
  return Error(absl::StatusCode::kNotFound, name,
               absl::StrCat("is in no directory of PATH (",
                            absl::CHexEscape(directories), ")"));
}

}  // namespace brood::server

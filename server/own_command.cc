// SPDX-License-Identifier: Apache-2.0

#include "brood/server/own_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace brood::server {
namespace {

constexpr char kSelf[] = "/proc/self/exe";

// Returns whether the two paths lead to one file or directory.
bool AreSame(const std::string& one, const std::string& other) {
  struct stat first, second;
  return stat(one.c_str(), &first) == 0 && stat(other.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

// Returns the working directory by the name under which the shell knows it, if
// that still leads there: it may go through a link to the current release.
absl::StatusOr<std::string> WorkingDirectory() {
  const char* const named = getenv("PWD");
  if (named != nullptr && absl::StartsWith(named, "/") && AreSame(named, ".")) {
    return std::string(named);
  }
  char path[PATH_MAX];
  if (getcwd(path, sizeof(path)) == nullptr) {
    return absl::ErrnoToStatus(errno, "getcwd");
  }
  return std::string(path);
}

absl::StatusOr<std::string> MakeAbsolute(absl::string_view path) {
  if (absl::StartsWith(path, "/")) return std::string(path);
  absl::StatusOr<std::string> directory = WorkingDirectory();
  if (!directory.ok()) return directory.status();
  return absl::StrCat(*directory, "/", path);
}

// Returns the entry of PATH under which a shell finds `name`, if that is the
// file that runs; otherwise the file that runs.
absl::StatusOr<std::string> PathOfBareName(absl::string_view name) {
  const char* const directories = getenv("PATH");
  if (directories != nullptr && !name.empty()) {
    for (const absl::string_view directory : absl::StrSplit(directories, ':')) {
      absl::StatusOr<std::string> path = MakeAbsolute(
          absl::StrCat(directory.empty() ? "." : directory, "/", name));
      if (!path.ok() || access(path->c_str(), X_OK) != 0) continue;
      if (AreSame(*path, kSelf)) return path;
      break;  // PATH did not lead to the file that runs
    }
  }
  char path[PATH_MAX];
  const ssize_t length = readlink(kSelf, path, sizeof(path));
  if (length < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("readlink ", kSelf));
  }
  return std::string(path, static_cast<size_t>(length));
}

absl::StatusOr<std::string> PathOf(absl::string_view called) {
  if (absl::StrContains(called, '/')) return MakeAbsolute(called);
  return PathOfBareName(called);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> OwnCommand(int argc,
                                                    const char* const* argv) {
  absl::StatusOr<std::string> path = PathOf(argc > 0 ? argv[0] : "");
  if (!path.ok()) return path.status();
  std::vector<std::string> command = {*std::move(path)};
  for (int i = 1; i < argc; ++i) command.emplace_back(argv[i]);
  return command;
}

}  // namespace brood::server

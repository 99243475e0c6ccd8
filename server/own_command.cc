#include "brood/server/own_command.h"

#include <unistd.h>

#include <cerrno>
#include <climits>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace brood::server {
namespace {

absl::StatusOr<std::string> PathOf(absl::string_view called) {
  if (absl::StartsWith(called, "/")) return std::string(called);
  char path[PATH_MAX];
  if (absl::StrContains(called, '/')) {
    if (getcwd(path, sizeof(path)) == nullptr) {
      return absl::ErrnoToStatus(errno, "getcwd");
    }
    return absl::StrCat(path, "/", called);
  }
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  if (length < 0) return absl::ErrnoToStatus(errno, "readlink /proc/self/exe");
  return std::string(path, static_cast<size_t>(length));
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

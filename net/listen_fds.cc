// SPDX-License-Identifier: Apache-2.0

#include "brood/net/listen_fds.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace brood::net {
namespace {

constexpr int kFirst = STDERR_FILENO + 1;
// LISTEN_PIDFDID is of later service managers. It is removed and not read: the
// pid is enough.
constexpr const char* kVariables[] = {"LISTEN_PID", "LISTEN_FDS",
                                      "LISTEN_FDNAMES", "LISTEN_PIDFDID"};

absl::optional<std::string> Variable(const char* name) {
  const char* value = getenv(name);
  if (value == nullptr) return absl::nullopt;
  return std::string(value);
}

absl::Status Wrong(absl::string_view variable, absl::string_view value,
                   absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat(variable, "=", absl::CHexEscape(value), ": ", why));
}

// Returns the number that `text` is, from 1 to `most`: decimal digits alone,
// without a sign and without a leading zero.
bool ParseCount(absl::string_view text, int most, int* number) {
  return !text.empty() && !absl::StartsWith(text, "0") &&
         std::all_of(text.begin(), text.end(), absl::ascii_isdigit) &&
         absl::SimpleAtoi(text, number) && *number <= most;
}

}  // namespace

absl::StatusOr<std::vector<InheritedSocket>> TakeInheritedSockets(
    std::string* ignored) {
  const absl::Cleanup forget = [] {
    for (const char* variable : kVariables) unsetenv(variable);
  };
  std::vector<InheritedSocket> sockets;
  const absl::optional<std::string> pid = Variable("LISTEN_PID");
  const absl::optional<std::string> fds = Variable("LISTEN_FDS");
  const absl::optional<std::string> names = Variable("LISTEN_FDNAMES");
  const auto ignore = [&](std::string why) {
    if (ignored != nullptr) *ignored = std::move(why);
    return std::move(sockets);
  };
  if (!pid && !fds && !names) return sockets;
  if (!pid) {
    return ignore(absl::StrCat(fds ? "LISTEN_FDS" : "LISTEN_FDNAMES",
                               " is set, and LISTEN_PID is not"));
  }
  int meant;
  if (!ParseCount(*pid, INT_MAX, &meant)) {
    return Wrong("LISTEN_PID", *pid, "must be the number of a process");
  }
  if (meant != getpid()) {
    return ignore(absl::StrCat(
        "LISTEN_PID=", meant, " is not this process, which is ", getpid(),
        "; a program between the service manager and this one must exec it"));
  }
  if (!fds) return ignore("LISTEN_PID is set, and LISTEN_FDS is not");
  if (*fds == "0") return ignore("LISTEN_FDS=0: there is no descriptor");
  int count;
  if (!ParseCount(*fds, INT_MAX - kFirst, &count)) {
    return Wrong("LISTEN_FDS", *fds, "must be a number of descriptors");
  }
  for (int fd = kFirst; fd < kFirst + count; ++fd) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
      const int error = errno;
      return Wrong("LISTEN_FDS", *fds,
                   absl::StrCat("descriptor ", fd, " is not open: ",
                                absl::ErrnoToStatus(error, "fcntl").message()));
    }
    sockets.push_back({Socket::Adopt(fd), ""});
  }
  if (!names) return sockets;
  const std::vector<std::string> each = absl::StrSplit(*names, ':');
  if (each.size() != sockets.size()) {
    return Wrong("LISTEN_FDNAMES", *names,
                 absl::StrCat("must be the names of ", count, " descriptors"));
  }
  for (size_t i = 0; i < each.size(); ++i) sockets[i].name = each[i];
  return sockets;
}

}  // namespace brood::net

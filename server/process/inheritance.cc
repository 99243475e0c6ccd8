// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/inheritance.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <csignal>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "brood/server/control/request_signals.h"

namespace brood::server {
namespace {

// More names than this are shortened to kFirstNames of them.
constexpr size_t kMostNames = 8;
constexpr size_t kFirstNames = 2;

// Returns every signal but those that the C library keeps for itself.
std::vector<int> AllSignals() {
  std::vector<int> signals;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (signal < 32 || signal >= SIGRTMIN) signals.push_back(signal);
  }
  return signals;
}

std::vector<int> BlockedSignals() {
  sigset_t mask;
  sigemptyset(&mask);
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  std::vector<int> blocked;
  for (const int signal : AllSignals()) {
    if (sigismember(&mask, signal) == 1) blocked.push_back(signal);
  }
  return blocked;
}

std::vector<int> IgnoredSignals() {
  std::vector<int> ignored;
  for (const int signal : AllSignals()) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) == 0 &&
        action.sa_handler == SIG_IGN) {
      ignored.push_back(signal);
    }
  }
  return ignored;
}

rlimit LimitOf(int resource, rlim_t usual) {
  rlimit limit;
  if (getrlimit(resource, &limit) < 0) limit = {usual, usual};
  return limit;
}

// Returns whether the working directory was removed, so that it has no link, or
// lies outside of the root, so that its path does not begin with a slash.
bool HasNoDirectory() {
  struct stat directory;
  if (stat(".", &directory) < 0 || directory.st_nlink == 0) return true;
  std::array<char, PATH_MAX> path;
  return getcwd(path.data(), path.size()) == nullptr || path[0] != '/';
}

// Returns whether the server reads the variable: those of the service manager,
// and those of other generations of a server.
bool IsRead(absl::string_view name) {
  return name == "LISTEN_PID" || name == "LISTEN_FDS" ||
         name == "LISTEN_FDNAMES" || name == "NOTIFY_SOCKET" ||
         absl::StartsWith(name, "BROOD_");
}

std::vector<std::string> VariablesThatAreRead() {
  std::vector<std::string> names;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text = *variable;
    const absl::string_view name = text.substr(0, text.find('='));
    if (IsRead(name)) names.emplace_back(name);
  }
  return names;
}

std::string NameOf(int signal) {
  if (signal >= SIGRTMIN) {
    const int number = signal - SIGRTMIN;
    return number == 0 ? "SIGRTMIN" : absl::StrCat("SIGRTMIN+", number);
  }
  const char* const name = sigabbrev_np(signal);
  return name != nullptr ? absl::StrCat("SIG", name)
                         : absl::StrCat("signal ", signal);
}

std::string BytesOf(const rlimit& limit) {
  return limit.rlim_cur == RLIM_INFINITY
             ? "without a limit"
             : absl::StrCat("up to ", limit.rlim_cur, " bytes");
}

}  // namespace

Inheritance Inheritance::Look() {
  Inheritance inherited;
  inherited.blocked = BlockedSignals();
  inherited.ignored = IgnoredSignals();
  inherited.file_size = LimitOf(RLIMIT_FSIZE, RLIM_INFINITY);
  inherited.core = LimitOf(RLIMIT_CORE, 0);
  inherited.has_no_directory = HasNoDirectory();
  inherited.variables = VariablesThatAreRead();
  inherited.has_terminal = RequestSignals::HasTerminal();
  return inherited;
}

std::vector<std::string> Inheritance::Unusual() const {
  std::vector<std::string> phrases;
  std::vector<int> stay;
  for (const int signal : ignored) {
    // PrepareProcess() resets these.
    if (signal != SIGTERM && signal != SIGUSR2 && signal != SIGCHLD) {
      stay.push_back(signal);
    }
  }
  if (!stay.empty()) {
    phrases.push_back(absl::StrCat(
        NamesOf(stay), stay.size() == 1 ? " stays ignored" : " stay ignored"));
  }
  if (file_size.rlim_cur != RLIM_INFINITY) {
    phrases.push_back(absl::StrCat("files ", BytesOf(file_size)));
  }
  if (core.rlim_cur != 0) {
    phrases.push_back(absl::StrCat("core files ", BytesOf(core)));
  }
  if (has_no_directory) {
    phrases.emplace_back("the working directory is gone");
  }
  if (!variables.empty()) {
    phrases.push_back(
        absl::StrCat("variables ", absl::StrJoin(variables, ", ")));
  }
  if (has_terminal) phrases.emplace_back("a controlling terminal");
  return phrases;
}

std::vector<int> ClosedStandardDescriptors() {
  std::vector<int> closed;
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0) closed.push_back(fd);
  }
  return closed;
}

std::string NamesOf(const std::vector<int>& signals) {
  const size_t named =
      signals.size() > kMostNames ? kFirstNames : signals.size();
  std::vector<std::string> names;
  for (size_t i = 0; i < named; ++i) names.push_back(NameOf(signals[i]));
  std::string text = absl::StrJoin(names, ", ");
  if (named < signals.size()) {
    absl::StrAppend(&text, " and ", signals.size() - named, " others");
  }
  return text;
}

}  // namespace brood::server

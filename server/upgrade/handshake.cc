// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/handshake.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "brood/net/socket.h"
#include "brood/server/process/preparation.h"

namespace brood::server {
namespace {

constexpr char kVariable[] = "BROOD_UPGRADE";
constexpr char kLinkVariable[] = "BROOD_MAIN_PROCESS";
constexpr char kOlderVariable[] = "BROOD_OLDER";
// What follows the entry of a listener that ends with the server.
constexpr char kBound[] = "\tbound";
// The first number that proc::Program gives. The listeners follow.
constexpr int kReadyFd = STDERR_FILENO + 1;

// Takes ownership of a descriptor that `variable` implies.
absl::StatusOr<net::Socket> Take(const char* variable, int fd) {
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return net::Socket::Adopt(fd);
  const int error = errno;
  return absl::InvalidArgumentError(
      absl::StrCat(variable, ": it speaks of descriptor ", fd,
                   ", which this program was not given: ",
                   absl::ErrnoToStatus(error, "fcntl").message()));
}

bool IsOneOfOurs(absl::string_view variable) {
  const absl::string_view name = variable.substr(0, variable.find('='));
  return name == kVariable || name == kLinkVariable || name == kOlderVariable;
}

// Returns the descriptors whose numbers the environment has under `variable`,
// separated by commas. They belong to the caller.
absl::StatusOr<std::vector<net::UniqueFd>> TakeNumbered(const char* variable) {
  std::vector<net::UniqueFd> taken;
  const char* value = getenv(variable);
  if (value == nullptr) return taken;
  const std::string text = value;
  unsetenv(variable);
  for (const absl::string_view number : absl::StrSplit(text, ',')) {
    int fd = -1;
    if (!absl::SimpleAtoi(number, &fd) || fd <= STDERR_FILENO) {
      return absl::InvalidArgumentError(
          absl::StrCat(variable, "=", absl::CHexEscape(text),
                       ": must be numbers of descriptors above 2"));
    }
    absl::StatusOr<net::Socket> socket = Take(variable, fd);
    if (!socket.ok()) return socket.status();
    taken.push_back(*std::move(socket));
  }
  return taken;
}

// Adds `fds` to `program`, and a variable with their numbers there.
void AddNumbered(const char* variable, const std::vector<int>& fds,
                 proc::Program* program) {
  std::vector<int> numbers;
  for (const int fd : fds) {
    program->fds.push_back(fd);
    numbers.push_back(STDERR_FILENO + static_cast<int>(program->fds.size()));
  }
  program->environment.push_back(
      absl::StrCat(variable, "=", absl::StrJoin(numbers, ",")));
}

}  // namespace

Handshake::Offer Handshake::MakeOffer(
    int ready_fd, const std::vector<LentListener>& listeners) {
  Offer offer;
  offer.fds = {ready_fd};
  for (const LentListener& listener : listeners) {
    absl::StrAppend(&offer.variable, listener.entry,
                    listener.ends_with_server ? kBound : "", "\n");
    offer.fds.push_back(listener.socket);
  }
  return offer;
}

proc::Program Handshake::MakeProgram(const std::vector<std::string>& command,
                                     const std::string& notify_socket,
                                     const Offer& offer) {
  proc::Program program;
  program.path = command.front();
  program.arguments = command;
  program.fds = offer.fds;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!IsOneOfOurs(*variable)) program.environment.emplace_back(*variable);
  }
  program.environment.push_back(absl::StrCat(kVariable, "=", offer.variable));
  if (!notify_socket.empty()) {
    // This program has taken the variable from its environment.
    program.environment.push_back(
        absl::StrCat("NOTIFY_SOCKET=", notify_socket));
  }
  // A signal that comes before the program has set its handlers would end it.
  program.blocked_signals = {SIGHUP, SIGUSR2};
  program.kept_if_ignored = {SIGHUP, SIGINT, SIGQUIT};
  if (const auto& before = Preparation::OfThisProcess().descriptors_before()) {
    program.descriptors = before->rlim_cur;
  }
  return program;
}

void Handshake::AddLink(int fd, proc::Program* program) {
  AddNumbered(kLinkVariable, {fd}, program);
}

void Handshake::AddOlder(const std::vector<int>& pidfds,
                         proc::Program* program) {
  if (!pidfds.empty()) AddNumbered(kOlderVariable, pidfds, program);
}

bool Handshake::IsPending() { return getenv(kVariable) != nullptr; }

absl::StatusOr<Handshake> Handshake::Receive() {
  if (!IsPending()) return Handshake();
  const std::string lines = getenv(kVariable);
  unsetenv(kVariable);

  Handshake handshake;
  absl::StatusOr<std::vector<net::UniqueFd>> link = TakeNumbered(kLinkVariable);
  absl::StatusOr<std::vector<net::UniqueFd>> older =
      TakeNumbered(kOlderVariable);
  if (!link.ok()) return link.status();
  if (!older.ok()) return older.status();
  if (!link->empty()) {
    handshake.link_ = GenerationLink::Adopt(std::move(link->front()));
  }
  handshake.older_ = *std::move(older);
  absl::StatusOr<net::Socket> ready = Take(kVariable, kReadyFd);
  if (!ready.ok()) return ready.status();
  handshake.ready_ =
      proc::Private<net::EventFd>(net::EventFd::Adopt(*std::move(ready)));
  handshake.old_program_ = getppid();
  int fd = kReadyFd;
  for (absl::string_view entry :
       absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    absl::StatusOr<net::Socket> listener = Take(kVariable, ++fd);
    if (!listener.ok()) return listener.status();
    const bool bound = absl::ConsumeSuffix(&entry, kBound);
    handshake.listeners_.push_back(
        {*std::move(listener), std::string(entry), bound});
  }
  return handshake;
}

std::vector<InheritedListener> Handshake::TakeListeners() {
  return std::exchange(listeners_, {});
}

GenerationLink Handshake::TakeLink() {
  return std::exchange(link_, GenerationLink());
}

std::vector<net::UniqueFd> Handshake::TakeOlder() {
  return std::exchange(older_, {});
}

void Handshake::ReportReady() {
  if (ready_.fd() < 0 || std::exchange(reported_, true)) return;
  ready_->Notify();
}

bool Handshake::IsSoleHolder() {
  if (old_program_ == 0) return true;
  const uint64_t count = ready_->Take();
  if (count < kReleased && getppid() == old_program_) {
    // Perhaps the report of readiness, which is for the old program.
    if (count > 0) ready_->Notify(count);
    return false;
  }
  old_program_ = 0;
  return true;
}

}  // namespace brood::server

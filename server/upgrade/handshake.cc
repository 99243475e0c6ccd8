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

// What the new program gets. Its descriptors have the numbers from 3 on, in
// order: an eventfd, then the listeners. The environment variable BROOD_UPGRADE
// has a line for each listener: the entry of Options::listen that it serves,
// followed by a tab and "bound" if the listening is to end with the last
// program that has it. On the eventfd the new program reports that it is ready,
// and the old program reports that it has closed its copies of the listeners.
//
// If there is a main process, the variable BROOD_MAIN_PROCESS has the number of
// the descriptor that links the new program to it (generation_link.h). If there
// is none, BROOD_OLDER has the numbers of pidfds, separated by commas, of the
// programs that still have connections.

namespace brood::server {
namespace {

constexpr char kVariable[] = "BROOD_UPGRADE";
constexpr char kLinkVariable[] = "BROOD_MAIN_PROCESS";
constexpr char kOlderVariable[] = "BROOD_OLDER";
// The text after the entry of a listener that ends with the server.
constexpr char kBound[] = "\tbound";
// The number of the first descriptor of a proc::Program. The listeners follow.
constexpr int kReadyFd = STDERR_FILENO + 1;

// Takes ownership of descriptor `fd`, which `variable` names or implies.
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
    // This program has removed the variable from its own environment.
    program.environment.push_back(
        absl::StrCat("NOTIFY_SOCKET=", notify_socket));
  }
  // A signal before the program has set its handlers would end it, so the
  // signals are blocked.
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
    // The rest may be the report of readiness, which is for the old program.
    if (count > 0) ready_->Notify(count);
    return false;
  }
  old_program_ = 0;
  return true;
}

}  // namespace brood::server

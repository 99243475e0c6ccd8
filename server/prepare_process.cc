// SPDX-License-Identifier: Apache-2.0

#include "brood/server/prepare_process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "absl/strings/str_cat.h"
#include "brood/proc/memory/huge_text.h"
#include "brood/server/control/request_signals.h"

namespace brood::server {
namespace {

// Each descriptor that is opened has the lowest number that is free.
absl::Status OpenStandardDescriptors() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
    if (fd < 0) return absl::ErrnoToStatus(errno, "open /dev/null");
  } while (fd <= STDERR_FILENO);
  close(fd);
  return absl::OkStatus();
}

absl::Status ResetIfIgnored(int signal) {
  struct sigaction action;
  if (sigaction(signal, nullptr, &action) < 0) {
    return absl::ErrnoToStatus(errno, "sigaction");
  }
  if (action.sa_handler != SIG_IGN) return absl::OkStatus();
  action = {};
  action.sa_handler = SIG_DFL;
  if (sigaction(signal, &action, nullptr) < 0) {
    return absl::ErrnoToStatus(errno, "sigaction");
  }
  return absl::OkStatus();
}

// The mask comes first: a signal that was ignored must not end the program
// between the two.
absl::Status PrepareSignals() {
  absl::Status prepared = RequestSignals::BlockAlone();
  for (const int signal : {SIGTERM, SIGUSR2, SIGCHLD}) {
    prepared.Update(ResetIfIgnored(signal));
  }
  return prepared;
}

// Raises the soft limit of `resource` to `wanted`, or to the hard limit if that
// is less. Sets `reached` to the limit that then holds.
absl::Status RaiseSoftLimit(int resource, rlim_t wanted, rlim_t* reached) {
  rlimit limit;
  if (getrlimit(resource, &limit) < 0) {
    return absl::ErrnoToStatus(errno, "getrlimit");
  }
  *reached = limit.rlim_cur;
  const rlim_t possible = std::min(wanted, limit.rlim_max);
  if (possible <= limit.rlim_cur) return absl::OkStatus();
  limit.rlim_cur = possible;
  if (setrlimit(resource, &limit) < 0) {
    return absl::ErrnoToStatus(errno, "setrlimit");
  }
  *reached = possible;
  return absl::OkStatus();
}

absl::Status RaiseDescriptors(int wanted) {
  if (wanted < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptors=", wanted, ": must be 0 to 2147483647"));
  }
  const auto enough = static_cast<rlim_t>(wanted);
  rlim_t reached = 0;
  absl::Status raised = RaiseSoftLimit(RLIMIT_NOFILE, enough, &reached);
  if (!raised.ok() || reached >= enough) return raised;
  return absl::ResourceExhaustedError(
      absl::StrCat("descriptors=", wanted, ": the hard limit (RLIMIT_NOFILE) ",
                   "is ", reached));
}

}  // namespace

absl::Status PrepareProcess(const ProcessOptions& options) {
  // A flag of the program and not of the process: a fork has what its parent
  // prepared, and a program that is executed begins with false.
  static bool has_signals = false;
  absl::Status prepared;
  if (!has_signals) prepared.Update(PrepareSignals());
  has_signals = true;
  prepared.Update(OpenStandardDescriptors());
  // A queue that stays too short is reported by TcpServer::Create(), which
  // knows what is enough.
  rlim_t pending = 0;
  prepared.Update(RaiseSoftLimit(RLIMIT_SIGPENDING, RLIM_INFINITY, &pending));
  prepared.Update(RaiseDescriptors(options.descriptors));
  if (options.huge_text) prepared.Update(proc::MoveTextToHugePages());
  return prepared;
}

}  // namespace brood::server

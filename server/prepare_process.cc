// SPDX-License-Identifier: Apache-2.0

#include "brood/server/prepare_process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "brood/proc/hardening/exposure.h"
#include "brood/proc/memory/data_mapping.h"
#include "brood/proc/memory/huge_text.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/process/inheritance.h"
#include "brood/server/process/preparation.h"

namespace brood::server {
namespace {

// The largest limit that kUpToHardLimit sets. Some programs loop over all
// numbers below their limit, and the hard limit of a container may be 2^30.
constexpr rlim_t kMostDescriptors = rlim_t{1} << 20;

// Records a change for the log.
template <typename... Parts>
void Changed(const Parts&... parts) {
  Preparation::OfThisProcess().Changed(absl::StrCat(parts...));
}

std::string TextOf(rlim_t limit) {
  return limit == RLIM_INFINITY ? "unlimited" : absl::StrCat(limit);
}

// Opens /dev/null for each standard descriptor that is closed: a file that is
// opened gets the lowest number that is free.
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
  Changed(NamesOf({signal}), " was ignored");
  return absl::OkStatus();
}

// Blocks the signals before it resets them: a signal that was ignored must not
// end the program between the two steps.
absl::Status PrepareSignals(const Inheritance& inherited) {
  absl::Status prepared = RequestSignals::BlockAlone();
  if (prepared.ok() && !inherited.blocked.empty()) {
    Changed("unblocked ", NamesOf(inherited.blocked));
  }
  for (const int signal : {SIGTERM, SIGUSR2, SIGCHLD}) {
    prepared.Update(ResetIfIgnored(signal));
  }
  return prepared;
}

// Raises the soft limit of `resource`, which the log calls `name`, to `wanted`,
// or to the hard limit if that is less. Sets `before` to the limit as it was,
// and `reached` to the soft limit that then holds.
absl::Status RaiseSoftLimit(int resource, absl::string_view name, rlim_t wanted,
                            rlimit* before, rlim_t* reached) {
  if (getrlimit(resource, before) < 0) {
    return absl::ErrnoToStatus(errno, "getrlimit");
  }
  *reached = before->rlim_cur;
  const rlimit raised = {std::min(wanted, before->rlim_max), before->rlim_max};
  if (raised.rlim_cur <= before->rlim_cur) return absl::OkStatus();
  if (setrlimit(resource, &raised) < 0) {
    return absl::ErrnoToStatus(errno, "setrlimit");
  }
  *reached = raised.rlim_cur;
  Changed(name, " ", before->rlim_cur, " -> ", TextOf(raised.rlim_cur));
  return absl::OkStatus();
}

// Raises the limit of pending signals. TcpServer::Create(), which knows the
// needed length, reports a queue that is still too short.
absl::Status RaisePendingSignals() {
  rlimit before;
  rlim_t reached;
  return RaiseSoftLimit(RLIMIT_SIGPENDING, "pending signals", RLIM_INFINITY,
                        &before, &reached);
}

absl::Status RaiseDescriptors(int wanted) {
  const bool to_hard_limit = wanted == ProcessOptions::kUpToHardLimit;
  if (wanted < 0 && !to_hard_limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptors=", wanted, ": must be 0 to 2147483647"));
  }
  const rlim_t enough =
      to_hard_limit ? kMostDescriptors : static_cast<rlim_t>(wanted);
  rlimit before;
  rlim_t reached = 0;
  absl::Status raised =
      RaiseSoftLimit(RLIMIT_NOFILE, "descriptors", enough, &before, &reached);
  if (!raised.ok()) return raised;
  if (reached > before.rlim_cur) {
    Preparation::OfThisProcess().RaisedDescriptors(before);
  }
  if (to_hard_limit || reached >= enough) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("descriptors=", wanted, ": the hard limit (RLIMIT_NOFILE) ",
                   "is ", reached));
}

}  // namespace

absl::Status PrepareProcess(const ProcessOptions& options) {
  // True also in a process that was forked since, which has inherited the
  // prepared state; a program that is executed begins with false.
  static bool has_looked = false;
  const bool is_first = !std::exchange(has_looked, true);
  Preparation& preparation = Preparation::OfThisProcess();
  const Inheritance inherited = is_first ? Inheritance::Look() : Inheritance();
  absl::Status prepared;
  if (is_first) prepared.Update(PrepareSignals(inherited));
  const std::vector<int> closed = ClosedStandardDescriptors();
  const absl::Status opened = OpenStandardDescriptors();
  if (opened.ok() && !closed.empty()) {
    Changed(closed.size() == 1 ? "opened descriptor " : "opened descriptors ",
            absl::StrJoin(closed, ", "));
  }
  prepared.Update(opened);
  prepared.Update(RaisePendingSignals());
  prepared.Update(RaiseDescriptors(options.descriptors));
  if (!options.dumpable) prepared.Update(proc::CloseToOthers());
  if (options.huge_text) {
    prepared.Update(proc::MoveTextToHugePages());
    prepared.Update(proc::JoinDataMappings());
  }
  if (is_first) {
    for (std::string& phrase : inherited.Unusual()) {
      preparation.Noticed(std::move(phrase));
    }
  }
  return prepared;
}

}  // namespace brood::server

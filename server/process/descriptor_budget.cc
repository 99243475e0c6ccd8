// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/descriptor_budget.h"

#include <dirent.h>

#include "absl/strings/str_cat.h"
#include "brood/server/strategy_kind.h"

namespace brood::server {
namespace {

// The descriptors of every server: requests of the API, request signals, exits,
// the log, the service manager, deadlines, and two for PollableFd().
constexpr size_t kAlways = 8;

// The descriptors for a listener: its own, and a socket by which the deadlines
// ask about its network namespace.
constexpr size_t kForEachListener = 2;

// The descriptors in use for a short time: connections that wait for a process
// (Connections::kMostWaiting), a connection that was just accepted, and files
// of /proc that are open for a moment.
constexpr size_t kInFlight = 11;

// The descriptors for upgrades: the event, and a link to each generation that
// may exist (eight old ones, the newest, and one that starts).
constexpr size_t kUpgrade = 12;

// The descriptors that the new program of an upgrade gets besides the
// listeners, as copies.
constexpr size_t kGiven = 3;

// The descriptors for a worker: both ends of its queue.
constexpr size_t kForEachWorker = 2;

// The descriptors for the reports of the workers of a pool.
constexpr size_t kReports = 2;

// The descriptors for a zygote: both ends of two queues, and its event.
constexpr size_t kZygote = 5;

size_t ForStrategy(StrategyKind strategy) {
  switch (strategy) {
    case StrategyKind::kPool:
      return kReports;
    case StrategyKind::kZygote:
    case StrategyKind::kAuto:
      return kZygote;
    case StrategyKind::kFork:
    case StrategyKind::kSpares:
      break;
  }
  return 0;
}

size_t WorkersOf(const Options& options) {
  switch (options.strategy) {
    case StrategyKind::kPool:
      return options.Capacity();
    case StrategyKind::kSpares:
      // As many spares again may be about to take their connections over.
      return 2 * static_cast<size_t>(options.spares.max);
    case StrategyKind::kFork:
    case StrategyKind::kZygote:
    case StrategyKind::kAuto:
      break;
  }
  return 0;
}

}  // namespace

DescriptorBudget DescriptorBudget::For(const Options& options, size_t open) {
  DescriptorBudget budget;
  budget.open = open;
  budget.workers = kForEachWorker * WorkersOf(options);
  const size_t listeners = options.listen.size();
  budget.server = kAlways + kInFlight + kForEachListener * listeners +
                  ForStrategy(options.strategy);
  if (!options.upgrade.command.empty()) {
    budget.server += kUpgrade + kGiven + listeners;
  }
  return budget;
}

std::string DescriptorBudget::ToString() const {
  std::string text;
  if (workers > 0) text = absl::StrCat(workers, " for workers, ");
  return absl::StrCat(text, server, " for the server, ", open, " open before");
}

size_t CountOpenDescriptors() {
  constexpr size_t kStandard = 3;
  DIR* const list = opendir("/proc/self/fd");
  if (list == nullptr) return kStandard;
  size_t count = 0;
  while (const dirent* const entry = readdir(list)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(list);
  return count - 1;  // the descriptor of the list itself
}

}  // namespace brood::server

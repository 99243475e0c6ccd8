// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/private_fds.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <vector>

#include "brood/proc/close_range.h"

namespace brood::proc {
namespace {

struct Range {
  unsigned first, last;
};

// The private descriptors of this process, in ascending order, and the same as
// ranges: adjacent numbers are closed by one call.
struct Registry {
  std::mutex mutex;
  pid_t owner = 0;
  std::vector<unsigned> fds;
  std::vector<Range> ranges;

  // Returns the registry. It is never destroyed, because registrations may last
  // until the process ends.
  static Registry& Get() {
    static auto* const registry = new Registry;
    return *registry;
  }

  // Empties the registry if it is a copy of the parent's.
  void BelongToThisProcess() {
    const pid_t self = getpid();
    if (owner == self) return;
    owner = self;
    fds.clear();
    ranges.clear();
  }

  // Computes the ranges from the descriptors.
  void JoinNeighbours() {
    ranges.clear();
    // A removal can split a range in two; that must not allocate.
    ranges.reserve(fds.capacity());
    for (unsigned fd : fds) {
      if (!ranges.empty() && fd - ranges.back().last <= 1) {
        ranges.back().last = fd;
      } else {
        ranges.push_back({fd, fd});
      }
    }
  }
};

}  // namespace

PrivateFdRegistration::PrivateFdRegistration(int fd) : fd_(fd) {
  if (fd_ < 0) return;
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
  const auto added = static_cast<unsigned>(fd);
  registry.fds.insert(
      std::upper_bound(registry.fds.begin(), registry.fds.end(), added), added);
  registry.JoinNeighbours();
}

PrivateFdRegistration::~PrivateFdRegistration() {
  if (fd_ < 0) return;
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
  const auto found = std::lower_bound(registry.fds.begin(), registry.fds.end(),
                                      static_cast<unsigned>(fd_));
  if (found == registry.fds.end() || *found != static_cast<unsigned>(fd_)) {
    return;
  }
  registry.fds.erase(found);
  registry.JoinNeighbours();
}

// Takes no lock: only a single-threaded process spawns, so the lock was free
// when this process was forked.
void ClosePrivateFds(absl::Span<const int> kept) {
  for (const Range& range : Registry::Get().ranges) {
    unsigned first = range.first;
    for (const int fd : kept) {
      const auto spared = static_cast<unsigned>(fd);
      if (spared < first || range.last < spared) continue;
      if (first < spared) CloseRange(first, spared - 1);
      first = spared + 1;
    }
    if (first <= range.last) CloseRange(first, range.last);
  }
}

void ReservePrivateFds(size_t more) {
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
  registry.fds.reserve(registry.fds.size() + more);
  registry.ranges.reserve(registry.fds.capacity());
}

void ForgetPrivateFdsOfParent() {
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
}

}  // namespace brood::proc

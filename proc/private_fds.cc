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

// What this process hides: sorted; and the same as ranges, for neighbours are
// closed by one call.
struct Registry {
  std::mutex mutex;
  pid_t owner = 0;
  std::vector<unsigned> fds;
  std::vector<Range> ranges;

  // Never destroyed: others may be hidden until the very end of the process.
  static Registry& Get() {
    static auto* const registry = new Registry;
    return *registry;
  }

  void BelongToThisProcess() {
    const pid_t self = getpid();
    if (owner == self) return;
    owner = self;
    fds.clear();
    ranges.clear();
  }

  void JoinNeighbours() {
    ranges.clear();
    // One that is taken out can make two of one; that must need no memory.
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

HiddenFd::HiddenFd(int fd) : fd_(fd) {
  if (fd_ < 0) return;
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
  const auto hidden = static_cast<unsigned>(fd_);
  registry.fds.insert(
      std::upper_bound(registry.fds.begin(), registry.fds.end(), hidden),
      hidden);
  registry.JoinNeighbours();
}

HiddenFd::~HiddenFd() {
  if (fd_ < 0) return;
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
  const auto hidden = std::lower_bound(registry.fds.begin(), registry.fds.end(),
                                       static_cast<unsigned>(fd_));
  if (hidden == registry.fds.end() || *hidden != static_cast<unsigned>(fd_)) {
    return;
  }
  registry.fds.erase(hidden);
  registry.JoinNeighbours();
}

// No lock: only a single-threaded process spawns, so nobody can have held it
// when this one was born.
void CloseHiddenFds(absl::Span<const int> kept) {
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

void ReserveHiddenFds(size_t more) {
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
  registry.fds.reserve(registry.fds.size() + more);
  registry.ranges.reserve(registry.fds.capacity());
}

void ForgetFdsHiddenByParent() {
  Registry& registry = Registry::Get();
  const std::lock_guard<std::mutex> lock(registry.mutex);
  registry.BelongToThisProcess();
}

}  // namespace brood::proc

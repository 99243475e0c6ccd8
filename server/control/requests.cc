#include "brood/server/control/requests.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"

namespace brood::server {
namespace {

constexpr int kUpgradesFrom = 32;
constexpr uint64_t kDrain = 1;
constexpr uint64_t kUpgrade = uint64_t{1} << kUpgradesFrom;

}  // namespace

absl::StatusOr<Requests> Requests::Create() {
  // Not for children to inherit through exec, and above the standard ones.
  net::Socket fd = net::Socket::AboveStandardDescriptors(
      net::Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  return Requests(std::move(fd));
}

void Requests::AskToDrain() const { Add(kDrain); }

void Requests::AskToUpgrade() const { Add(kUpgrade); }

// A counter that is full already says more than enough.
void Requests::Add(uint64_t count) const {
  const int saved_errno = errno;
  eventfd_write(eventfd_.fd(), count);
  errno = saved_errno;
}

Requests::Taken Requests::Take() const {
  eventfd_t counts = 0;
  eventfd_read(eventfd_.fd(), &counts);
  Taken taken;
  taken.drains = static_cast<int>(
      std::min<uint64_t>(counts & (kUpgrade - 1), kMostDrains));
  taken.upgrade = counts >> kUpgradesFrom != 0;
  return taken;
}

}  // namespace brood::server

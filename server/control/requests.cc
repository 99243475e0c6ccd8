// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/requests.h"

#include <algorithm>
#include <cstdint>

namespace brood::server {
namespace {

constexpr int kUpgradesFrom = 32;
constexpr uint64_t kDrain = 1;
constexpr uint64_t kUpgrade = uint64_t{1} << kUpgradesFrom;

}  // namespace

absl::StatusOr<Requests> Requests::Create() {
  absl::StatusOr<net::EventFd> event = net::EventFd::Create();
  if (!event.ok()) return event.status();
  return Requests(*std::move(event));
}

// A counter that is full already asks for more than enough.
void Requests::AskToDrain() const { event_->Notify(kDrain); }

void Requests::AskToUpgrade() const { event_->Notify(kUpgrade); }

Requests::Taken Requests::Take() const {
  const uint64_t counts = event_->Take();
  Taken taken;
  taken.drains = static_cast<int>(
      std::min<uint64_t>(counts & (kUpgrade - 1), kMostDrains));
  taken.upgrade = counts >> kUpgradesFrom != 0;
  return taken;
}

}  // namespace brood::server

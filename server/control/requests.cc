// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/requests.h"

#include <algorithm>
#include <cstdint>

namespace brood::server {
namespace {

constexpr int kUpgradesFrom = 32;
constexpr uint64_t kStop = 1;
constexpr uint64_t kUpgrade = uint64_t{1} << kUpgradesFrom;

}  // namespace

absl::StatusOr<Requests> Requests::Create() {
  absl::StatusOr<net::EventFd> event = net::EventFd::Create();
  if (!event.ok()) return event.status();
  return Requests(*std::move(event));
}

// If the counter is full, it holds enough requests already.
void Requests::RequestStop() const { event_->Notify(kStop); }

void Requests::RequestUpgrade() const { event_->Notify(kUpgrade); }

Requests::Taken Requests::Take() const {
  const uint64_t counts = event_->Take();
  Taken taken;
  taken.stops =
      static_cast<int>(std::min<uint64_t>(counts & (kUpgrade - 1), kMostStops));
  taken.upgrade = counts >> kUpgradesFrom != 0;
  return taken;
}

}  // namespace brood::server

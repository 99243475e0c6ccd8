// SPDX-License-Identifier: Apache-2.0

#include "brood/server/status/scoreboard.h"

#include <algorithm>

#include "brood/server/handler.h"

namespace brood::server {

Scoreboard::Scoreboard(size_t max_connections)
    : entries_(max_connections), hosts_(max_connections) {
  free_.reserve(max_connections);
  for (size_t slot = max_connections; slot > 0; --slot) {
    free_.push_back(static_cast<Slot>(slot - 1));
  }
}

Slot Scoreboard::Claim(const net::Connection& connection, absl::Time started) {
  const Slot slot = free_.back();
  free_.pop_back();
  Entry& entry = entries_[slot];
  entry.pid = 0;
  entry.signalled_by_us = false;
  entry.peer = connection.peer();
  entry.local = connection.local_address();
  entry.accepted_at = connection.accepted_at();
  entry.started = started;
  entry.number = ++totals_.accepted;
  entry.connections_of_host = hosts_.Add(entry.peer);
  ++totals_.running;
  return slot;
}

void Scoreboard::Signalled(Slot slot, KillReason reason) {
  Entry& entry = entries_[slot];
  if (entry.signalled_by_us) return;
  entry.signalled_by_us = true;
  entry.kill_reason = reason;
}

void Scoreboard::Retire(Slot slot, const proc::ExitStatus& status) {
  if (status.unknown()) {
    ++totals_.unknown;
  } else if (status.exited()) {
    const auto code = static_cast<ExitCode>(status.code());
    ++(code == ExitCode::kServed ? totals_.ended_ok : totals_.ended_error);
  } else if (entries_[slot].signalled_by_us) {
    CountKilled(slot);
  } else {
    ++totals_.crashed;
    // An ExitStatus holds no greater signal; should it ever, nothing is written
    // past the end.
    const size_t last = totals_.crashed_by.size() - 1;
    ++totals_.crashed_by[std::min(static_cast<size_t>(status.signal()), last)];
  }
  Free(slot);
}

void Scoreboard::CountKilled(Slot slot) {
  ++totals_.killed;
  ++totals_.killed_for[static_cast<size_t>(entries_[slot].kill_reason)];
}

void Scoreboard::RetireExpired(Slot slot) {
  CountKilled(slot);
  Free(slot);
}

void Scoreboard::RetireForkFailed(Slot slot) {
  ++totals_.fork_failed;
  Free(slot);
}

void Scoreboard::RetireShed(Slot slot) {
  ++totals_.shed;
  Free(slot);
}

void Scoreboard::Free(Slot slot) {
  --totals_.running;
  entries_[slot].pid = 0;
  hosts_.Remove(entries_[slot].peer);
  free_.push_back(slot);
}

void Scoreboard::ForEachLive(
    absl::FunctionRef<void(Slot, const Entry&)> visit) const {
  for (Slot slot = 0; slot < entries_.size(); ++slot) {
    if (entries_[slot].pid != 0) visit(slot, entries_[slot]);
  }
}

}  // namespace brood::server

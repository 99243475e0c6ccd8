// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/listener_set.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"

namespace brood::server {
namespace {

// How many connections a listener may bring in beyond those that are queued
// when the server is requested to stop.
constexpr int kLatecomers = 64;
// No limit: the count goes down from here and does not reach 0.
constexpr int kAnyNumber = -1;

}  // namespace

ListenerSet::ListenerSet(Listeners opened) : latecomers_(opened.size()) {
  for (OpenedListener& each : opened) {
    each.new_file.Keep();
    listeners_.push_back({{proc::Private<net::Listener>(std::move(each.socket)),
                           std::move(each.entry), each.ends_with_server}});
  }
}

void ListenerSet::Configure(const ListenerSettings& settings, EventLog* log) {
  for (Served& served : listeners_) {
    const net::Listener& listener = *served.socket;
    if (!listener.open()) continue;
    const absl::Status set = ApplyPeerTimeout(settings, listener);
    if (!set.ok()) {
      log->OptionNotApplied("deadlines.peer", listener.endpoint(),
                            set.message());
    }
    if (served.ends_with_server) {
      ConfigureListener(settings, served.entry, /*is_ours=*/true, listener,
                        log);
    }
  }
}

bool ListenerSet::all_closed() const {
  return std::none_of(
      listeners_.begin(), listeners_.end(),
      [](const Served& served) { return served.socket->open(); });
}

void ListenerSet::InTurn(absl::FunctionRef<void(size_t)> visit) const {
  const size_t first = next_;
  for (size_t turn = 0; turn < size(); ++turn) {
    const size_t index = (first + turn) % size();
    if (open(index)) visit(index);
  }
}

net::Accepted ListenerSet::Accept(size_t index) {
  net::Accepted accepted = listeners_[index].socket->Accept();
  if (accepted.connection) next_ = (index + 1) % size();
  return accepted;
}

void ListenerSet::AllowLatecomers() {
  for (size_t i = 0; i < size(); ++i) {
    latecomers_[i] = listeners_[i].socket->queued() + kLatecomers;
  }
}

void ListenerSet::RefuseNewcomers(net::Instant now) {
  for (size_t i = 0; i < size(); ++i) {
    Served& served = listeners_[i];
    if (!served.ends_with_server || !open(i)) continue;
    served.may_close_at = net::After(now, served.socket->RefuseNewcomers());
    latecomers_[i] = kAnyNumber;
  }
}

void ListenerSet::Close(size_t index, bool end_listening) {
  Served& served = listeners_[index];
  if (end_listening && served.ends_with_server) {
    served.socket->EndListening();
  }
  served.socket.Close();
}

size_t ListenerSet::queued() const {
  size_t queued = 0;
  for (const Served& served : listeners_) {
    if (served.socket->open()) {
      queued += static_cast<size_t>(served.socket->queued());
    }
  }
  return queued;
}

std::vector<LentListener> ListenerSet::Lend(bool is_sole_holder) const {
  std::vector<LentListener> lent;
  for (size_t i = 0; i < size(); ++i) {
    if (!open(i)) continue;
    lent.push_back({fd(i), listeners_[i].entry,
                    is_sole_holder && listeners_[i].ends_with_server});
  }
  return lent;
}

}  // namespace brood::server

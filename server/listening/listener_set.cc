#include "brood/server/listening/listener_set.h"

#include <algorithm>
#include <utility>

namespace brood::server {
namespace {

// How many may come in beyond those that wait when the server is told to stop.
constexpr int kLatecomers = 64;

}  // namespace

ListenerSet::ListenerSet(Listeners opened) : latecomers_(opened.size()) {
  for (OpenedListener& each : opened) {
    listeners_.push_back(
        {proc::Private<net::Listener>(std::move(each.listener)),
         std::move(each.entry)});
  }
}

bool ListenerSet::all_closed() const {
  return std::none_of(
      listeners_.begin(), listeners_.end(),
      [](const Served& served) { return served.listener->open(); });
}

void ListenerSet::InTurn(absl::FunctionRef<void(size_t)> visit) const {
  const size_t first = next_;
  for (size_t turn = 0; turn < size(); ++turn) {
    const size_t index = (first + turn) % size();
    if (open(index)) visit(index);
  }
}

net::Accepted ListenerSet::Accept(size_t index) {
  net::Accepted accepted = listeners_[index].listener->Accept();
  if (accepted.connection) next_ = (index + 1) % size();
  return accepted;
}

void ListenerSet::AllowLatecomers() {
  for (size_t i = 0; i < size(); ++i) {
    latecomers_[i] = listeners_[i].listener->queued() + kLatecomers;
  }
}

void ListenerSet::Close(size_t index) { listeners_[index].listener.Close(); }

std::vector<LentListener> ListenerSet::Lend() const {
  std::vector<LentListener> lent;
  for (size_t i = 0; i < size(); ++i) {
    if (open(i)) lent.push_back({fd(i), listeners_[i].entry});
  }
  return lent;
}

}  // namespace brood::server

#include "brood/server/listening/listener_set.h"

#include <algorithm>
#include <utility>

namespace brood::server {
namespace {

// How many may come in beyond those that wait when the server is told to stop.
constexpr int kLatecomers = 64;

}  // namespace

ListenerSet::ListenerSet(Listeners opened)
    : entries_(std::move(opened.entries)),
      latecomers_(opened.listeners.size()) {
  for (net::Listener& listener : opened.listeners) {
    listeners_.emplace_back(std::move(listener));
  }
}

bool ListenerSet::all_closed() const {
  return std::none_of(listeners_.begin(), listeners_.end(),
                      [](const auto& listener) { return listener->open(); });
}

void ListenerSet::InTurn(absl::FunctionRef<void(size_t)> visit) const {
  const size_t first = next_;
  for (size_t turn = 0; turn < size(); ++turn) {
    const size_t index = (first + turn) % size();
    if (open(index)) visit(index);
  }
}

net::Accepted ListenerSet::Accept(size_t index) {
  net::Accepted accepted = listeners_[index]->Accept();
  if (accepted.connection) next_ = (index + 1) % size();
  return accepted;
}

void ListenerSet::AllowLatecomers() {
  for (size_t i = 0; i < size(); ++i) {
    latecomers_[i] = listeners_[i]->queued() + kLatecomers;
  }
}

void ListenerSet::Close(size_t index) { listeners_[index].Close(); }

std::vector<HandedListener> ListenerSet::ToHandOver() const {
  std::vector<HandedListener> handed;
  for (size_t i = 0; i < size(); ++i) {
    if (open(i)) handed.push_back({fd(i), entries_[i]});
  }
  return handed;
}

}  // namespace brood::server

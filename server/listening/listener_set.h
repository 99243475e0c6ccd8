// SPDX-License-Identifier: Apache-2.0

// ListenerSet: the listeners of a server while it serves: whose turn it is, and
// how many may still come in by each when the server stops.
//
// Listeners take turns. At the cap a slot becomes free now and then, and asked
// always in the same order the first one with a queue would get every one of
// them. So whoever had the last connection is asked last for the next.
//
// Lives in the parent; belongs to the supervisor. Owns the listeners; their
// descriptors are private. Errors: those of net::Listener::Accept().
//
// Example:
//   ListenerSet listeners(*OpenListeners(options, ...));
//   listeners.InTurn([&](size_t i) {
//     net::Accepted accepted = listeners.Accept(i);
//     ...
//   });

#ifndef BROOD_SERVER_LISTENING_LISTENER_SET_H_
#define BROOD_SERVER_LISTENING_LISTENER_SET_H_

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/proc/private_fds.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/listening/configure_listener.h"
#include "brood/server/listening/lent_listener.h"
#include "brood/server/listening/opened_listener.h"
#include "brood/server/log/event_log.h"

namespace brood::server {

class ListenerSet {
 public:
  explicit ListenerSet(Listeners listeners);

  size_t size() const { return listeners_.size(); }
  // -1 when it is closed.
  int fd(size_t index) const { return listeners_[index].socket.fd(); }
  bool open(size_t index) const { return listeners_[index].socket->open(); }
  const net::Endpoint& endpoint(size_t index) const {
    return listeners_[index].socket->endpoint();
  }
  bool all_closed() const;

  // Applies the settings of this program to the listeners again. A program
  // that was to replace this one shares them, and may have changed them before
  // it failed.
  void Configure(const ListenerSettings& settings, EventLog* log);

  // Visits those that are open, each once.
  void InTurn(absl::FunctionRef<void(size_t)> visit) const;
  net::Accepted Accept(size_t index);

  // From now on so many may still come in by each as wait there, and a few
  // more; without a bound a flood would keep a stopping server open for ever.
  void AllowLatecomers();
  // Counts one of them. False if there may be no more.
  bool AllowsOneMore(size_t index) { return latecomers_[index]-- != 0; }

  // Keeps newcomers out of the listeners that end with the server, so that
  // their queues can be emptied. For a server that stops and has the listeners
  // for itself.
  void RefuseNewcomers(net::Instant now);
  // Returns when a listener whose queue is empty may be closed: a client that
  // had begun to connect when newcomers were refused has arrived by then.
  net::Instant may_close_at(size_t index) const {
    return listeners_[index].may_close_at;
  }

  // Closes a listener. With `end_listening`, the listening of one that ends
  // with the server ends for other processes too.
  void Close(size_t index, bool end_listening);

  // Returns how many clients wait in the queues of open listeners.
  size_t queued() const;

  // Returns the open listeners for the program that takes over. They stay this
  // set's. `is_sole_holder` says whether no earlier program has them as well.
  std::vector<LentListener> Lend(bool is_sole_holder) const;

 private:
  struct Served : ListenerWithEntry<proc::Private<net::Listener>> {
    net::Instant may_close_at = net::Instant::min();
  };

  std::vector<Served> listeners_;
  std::vector<int> latecomers_;
  // Whose turn it is to be asked first for a connection.
  size_t next_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_LISTENER_SET_H_

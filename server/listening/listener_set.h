// SPDX-License-Identifier: Apache-2.0

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

// ListenerSet holds the listeners of a server while it serves, decides in which
// order they are asked for a connection, and limits how many connections each
// still brings in when the server stops.
//
// Listeners take turns. At the cap a slot becomes free now and then; in a fixed
// order the first listener with a queue would get each of these slots. So the
// listener that brought in the last connection is asked last for the next one.
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
class ListenerSet {
 public:
  // Takes ownership of `listeners`.
  explicit ListenerSet(Listeners listeners);

  // Returns the number of listeners, closed ones among them.
  size_t size() const { return listeners_.size(); }
  // Lends the descriptor of a listener; -1 if it is closed.
  int fd(size_t index) const { return listeners_[index].socket.fd(); }
  // Returns whether a listener is open.
  bool open(size_t index) const { return listeners_[index].socket->open(); }
  // Returns where a listener listens.
  const net::Endpoint& endpoint(size_t index) const {
    return listeners_[index].socket->endpoint();
  }
  // Returns whether every listener is closed.
  bool all_closed() const;

  // Applies the settings of this program to the listeners again. A program
  // that was to replace this one shares them, and may have changed them before
  // it failed.
  void Configure(const ListenerSettings& settings, EventLog* log);

  // Calls `visit` with the index of each open listener, in the order of their
  // turns.
  void InTurn(absl::FunctionRef<void(size_t)> visit) const;
  // Accepts a connection from a listener.
  net::Accepted Accept(size_t index);

  // Limits each listener to as many connections as are queued there now, and a
  // few more. Without a limit, a flood would keep a stopping server open
  // permanently.
  void AllowLatecomers();
  // Counts a connection towards that limit. Returns false if the listener has
  // reached it.
  bool AllowsOneMore(size_t index) { return latecomers_[index]-- != 0; }

  // Keeps new clients out of the queues of the listeners that end with the
  // server, so that the queues can be emptied. For a server that stops and that
  // shares its listeners with no other program.
  void RefuseNewcomers(net::Instant now);
  // Returns when a listener whose queue is empty may be closed: a client that
  // had begun to connect before RefuseNewcomers() is in the queue by then.
  net::Instant may_close_at(size_t index) const {
    return listeners_[index].may_close_at;
  }

  // Closes a listener. With `end_listening`, a listener that ends with the
  // server stops listening for other processes too.
  void Close(size_t index, bool end_listening);

  // Returns how many clients wait in the queues of open listeners.
  size_t queued() const;

  // Returns the open listeners, for the program that takes over. This set still
  // owns them. `is_sole_holder` reports whether no earlier program has them as
  // well.
  std::vector<LentListener> Lend(bool is_sole_holder) const;

 private:
  // Served is a listener of this set, and when it may be closed.
  struct Served : ListenerWithEntry<proc::Private<net::Listener>> {
    net::Instant may_close_at = net::Instant::min();
  };

  std::vector<Served> listeners_;
  std::vector<int> latecomers_;
  // The index of the listener that is asked first.
  size_t next_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_LISTENER_SET_H_

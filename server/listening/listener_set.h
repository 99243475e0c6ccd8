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
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/proc/private_fds.h"
#include "brood/server/listening/lent_listener.h"
#include "brood/server/listening/open_listeners.h"

namespace brood::server {

class ListenerSet {
 public:
  explicit ListenerSet(Listeners listeners);

  size_t size() const { return listeners_.size(); }
  // -1 when it is closed.
  int fd(size_t index) const { return listeners_[index].listener.fd(); }
  bool open(size_t index) const { return listeners_[index].listener->open(); }
  const net::Endpoint& endpoint(size_t index) const {
    return listeners_[index].listener->endpoint();
  }
  bool all_closed() const;

  // Visits those that are open, each once.
  void InTurn(absl::FunctionRef<void(size_t)> visit) const;
  net::Accepted Accept(size_t index);

  // From now on so many may still come in by each as wait there, and a few
  // more; without a bound a flood would keep a stopping server open for ever.
  void AllowLatecomers();
  // Counts one of them. False if there may be no more.
  bool AllowsOneMore(size_t index) { return latecomers_[index]-- != 0; }

  void Close(size_t index);

  // Returns the open listeners for the program that takes over. They stay this
  // set's.
  std::vector<LentListener> Lend() const;

 private:
  struct Served {
    proc::Private<net::Listener> listener;
    std::string entry;  // of Options::listen
  };

  std::vector<Served> listeners_;
  std::vector<int> latecomers_;
  // Whose turn it is to be asked first for a connection.
  size_t next_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_LISTENER_SET_H_

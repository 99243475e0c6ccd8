// SPDX-License-Identifier: Apache-2.0

#ifndef NET_LISTENER_H_
#define NET_LISTENER_H_

#include <ostream>
#include <vector>

#include "brood/net/endpoint.h"
#include "brood/server/totals.h"

namespace embedder {

// Listener is notified of the actions of a server of this tree.
//
// It accepts no connections. Brood has another header with this name,
// "brood/net/listener.h", and a program may include both. Lives in the parent.
class Listener {
 public:
  virtual ~Listener() = default;
  // Notifies that clients can connect.
  virtual void Serving(const std::vector<brood::net::Endpoint>& endpoints) = 0;
  // Notifies that the last client has been served.
  virtual void Stopped(const brood::server::Totals& totals) = 0;
};

// PrintingListener writes a line to a stream for each call, and flushes it, so
// that a child does not inherit a part of a line. The caller still owns the
// stream.
//
// Errors: none; lines that the stream cannot write are lost.
//
// Example:
//   PrintingListener listener(std::cout);
//   listener.Serving(server->endpoints());  // "listening 127.0.0.1:40551"
class PrintingListener : public Listener {
 public:
  // Writes to `out`, which must outlive the listener.
  explicit PrintingListener(std::ostream& out) : out_(out) {}

  void Serving(const std::vector<brood::net::Endpoint>& endpoints) override;
  void Stopped(const brood::server::Totals& totals) override;

 private:
  std::ostream& out_;
};

}  // namespace embedder

#endif  // NET_LISTENER_H_

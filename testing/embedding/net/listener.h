// Listener: who listens to what a server of this house has to tell.
//
// Nothing that accepts connections: Brood's header of the same name is another
// one, "brood/net/listener.h", and a program may use both. Lives in the parent.
// PrintingListener writes to a stream that stays the caller's, a line for each
// thing that happens, and flushes it; so a child inherits no half of a line.
//
// Errors: none; what a stream can't take is lost.
//
// Example:
//   PrintingListener listener(std::cout);
//   listener.Serving(server->endpoints());  // "listening 127.0.0.1:40551"

#ifndef NET_LISTENER_H_
#define NET_LISTENER_H_

#include <ostream>
#include <vector>

#include "brood/net/endpoint.h"
#include "brood/server/totals.h"

namespace embedder {

class Listener {
 public:
  virtual ~Listener() = default;
  // Clients may connect from now on.
  virtual void Serving(const std::vector<brood::net::Endpoint>& endpoints) = 0;
  // The last of them has been served.
  virtual void Stopped(const brood::server::Totals& totals) = 0;
};

class PrintingListener : public Listener {
 public:
  explicit PrintingListener(std::ostream& out) : out_(out) {}

  void Serving(const std::vector<brood::net::Endpoint>& endpoints) override;
  void Stopped(const brood::server::Totals& totals) override;

 private:
  std::ostream& out_;
};

}  // namespace embedder

#endif  // NET_LISTENER_H_

// SPDX-License-Identifier: Apache-2.0

#include "net/listener.h"

#include <ostream>

namespace embedder {

void PrintingListener::Serving(
    const std::vector<brood::net::Endpoint>& endpoints) {
  for (const brood::net::Endpoint& endpoint : endpoints) {
    out_ << "listening " << endpoint.ToString() << '\n';
  }
  out_ << std::flush;
}

void PrintingListener::Stopped(const brood::server::Totals& totals) {
  out_ << "served " << totals.ended_ok << " of " << totals.accepted
       << std::endl;
}

}  // namespace embedder

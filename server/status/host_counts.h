// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STATUS_HOST_COUNTS_H_
#define BROOD_SERVER_STATUS_HOST_COUNTS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "brood/net/peer_address.h"
#include "brood/proc/memory/parent_only.h"

namespace brood::server {

// HostCounts counts the running connections of each host, that is of each
// address of a client without its port. All clients of unix sockets are one
// host.
//
// Process: supervisor, in parent-only memory. A hash table of a fixed size:
// allocates nothing after its creation, and each call takes constant time. The
// order of the table differs in each process, so clients cannot choose
// addresses that make it slow. Errors: none.
//
// Example:
//   HostCounts counts(options.Capacity());
//   uint32_t running = counts.Add(connection.peer());  // 1 for the first one
//   ... the connection ends ...
//   counts.Remove(connection.peer());
class HostCounts {
 public:
  // Makes a table for at most `max_connections` at a time.
  explicit HostCounts(size_t max_connections);

  // Adds a connection of the host of `peer`. Returns how many it has now.
  uint32_t Add(const net::PeerAddress& peer);
  // Removes a connection of the host of `peer`, which was added.
  void Remove(const net::PeerAddress& peer);

 private:
  // An IPv6 address, or an IPv4 address as IPv6 maps it; zero for unix.
  using Host = std::array<unsigned char, 16>;
  // Cell is a host, and how many connections of it are running.
  struct Cell {
    Host host = {};
    uint32_t count = 0;  // 0 if the cell is free
  };

  // Returns the address of `peer` without its port, as a host.
  static Host HostOf(const net::PeerAddress& peer);
  // Returns the cell at which the search for `host` begins.
  size_t HomeOf(const Host& host) const;
  // Returns the cell of `host`, or the free cell where it belongs.
  size_t Find(const Host& host) const;
  // Frees a cell, and moves later ones so that each is found from its home.
  void Free(size_t cell);

  // At most half of them are taken, and their number is a power of two.
  proc::ParentOnlyVector<Cell> cells_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STATUS_HOST_COUNTS_H_

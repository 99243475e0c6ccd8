// SPDX-License-Identifier: Apache-2.0

#include "brood/server/status/host_counts.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "absl/types/span.h"

namespace brood::server {
namespace {

size_t CellsFor(size_t max_connections) {
  size_t cells = 2;
  while (cells < 2 * max_connections) cells *= 2;
  return cells;
}

}  // namespace

HostCounts::HostCounts(size_t max_connections)
    : cells_(CellsFor(max_connections)) {}

uint32_t HostCounts::Add(const net::PeerAddress& peer) {
  const Host host = HostOf(peer);
  Cell& cell = cells_[Find(host)];
  cell.host = host;
  return ++cell.count;
}

void HostCounts::Remove(const net::PeerAddress& peer) {
  const size_t found = Find(HostOf(peer));
  Cell& cell = cells_[found];
  if (cell.count > 1) {
    --cell.count;
  } else if (cell.count == 1) {
    Free(found);
  }
}

HostCounts::Host HostCounts::HostOf(const net::PeerAddress& peer) {
  Host host = {};
  const absl::Span<const unsigned char> bytes = peer.host();
  std::copy(bytes.begin(), bytes.end(), host.end() - bytes.size());
  if (peer.family() == AF_INET) host[10] = host[11] = 0xff;
  return host;
}

size_t HostCounts::HomeOf(const Host& host) const {
  return absl::Hash<Host>()(host) & (cells_.size() - 1);
}

size_t HostCounts::Find(const Host& host) const {
  size_t cell = HomeOf(host);
  while (cells_[cell].count != 0 && cells_[cell].host != host) {
    cell = (cell + 1) & (cells_.size() - 1);
  }
  return cell;
}

void HostCounts::Free(size_t cell) {
  const size_t mask = cells_.size() - 1;
  size_t free = cell;
  for (size_t next = (free + 1) & mask; cells_[next].count != 0;
       next = (next + 1) & mask) {
    // The search for what is in `next` passes `free` if its home is not after
    // it, in the order in which cells are searched.
    const size_t home = HomeOf(cells_[next].host);
    if (((next - home) & mask) >= ((next - free) & mask)) {
      cells_[free] = cells_[next];
      free = next;
    }
  }
  cells_[free].count = 0;
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/readiness.h"

#include <poll.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/server/log/line_writer.h"

namespace brood::server {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(1);
// How often a line is tried that cannot be written although there is room:
// another writer may use the room, or the file accepts nothing.
constexpr int kTries = 100;

// Waits until there is room in `fd`, or until `deadline`. Returns whether there
// is room.
bool AwaitRoom(int fd, net::Instant deadline) {
  pollfd room = {fd, POLLOUT, 0};
  const absl::Duration left = net::TimeUntil(deadline, net::Now());
  return TEMP_FAILURE_RETRY(poll(&room, 1, net::KernelMilliseconds(left))) ==
             1 &&
         room.revents == POLLOUT;
}

}  // namespace

size_t AnnounceReadiness(const std::vector<net::Endpoint>& endpoints, int fd) {
  LineWriter out(fd);
  const net::Instant deadline = net::After(net::Now(), kTimeout);
  size_t lost = 0;
  for (const net::Endpoint& endpoint : endpoints) {
    const std::string line =
        absl::StrCat("listening ", endpoint.ToString(), "\n");
    bool written = out.Write(line);
    for (int i = 0; !written && i < kTries && AwaitRoom(fd, deadline); ++i) {
      written = out.Write(line);
    }
    if (!written) ++lost;
  }
  return lost;
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_READINESS_H_
#define BROOD_SERVER_READINESS_H_

#include <cstddef>
#include <vector>

#include "brood/net/endpoint.h"

namespace brood::server {

// Writes that the server accepts connections, for scripts and tests:
//
//   listening 127.0.0.1:7000
//
// It writes such a line for each endpoint, in the order of the options; with
// port 0, a script learns the port from it. Called in the parent, once every
// listener listens: from then on the kernel completes connections, so a reader
// of the line may connect.
//
// A line for which there is no room, because the reader is slow, is written as
// soon as there is room. All lines together may take a second. Returns how many
// lines could not be written by then. `fd` stays the caller's.
//
// Example:
//   size_t lost = AnnounceReadiness((*server)->endpoints(), STDOUT_FILENO);
size_t AnnounceReadiness(const std::vector<net::Endpoint>& endpoints, int fd);

}  // namespace brood::server

#endif  // BROOD_SERVER_READINESS_H_

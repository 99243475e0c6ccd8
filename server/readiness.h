// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_READINESS_H_
#define BROOD_SERVER_READINESS_H_

#include <cstddef>
#include <vector>

#include "brood/net/endpoint.h"

namespace brood::server {

// Writes that connections are accepted, for scripts and tests:
//
//   listening 127.0.0.1:7000
//
// for each endpoint, in the order of the options; with port 0 this is how a
// script learns the port. Called in the parent, once every listener listens:
// from that moment on the kernel completes connections, so a reader of the line
// may connect.
//
// A line that does not fit, because the reader is slow, is kept and written
// again as soon as there is room, for at most a second altogether. Returns how
// many lines could not be written by then. `fd` stays the caller's.
//
// Example:
//   size_t lost = AnnounceReadiness((*server)->endpoints(), STDOUT_FILENO);
size_t AnnounceReadiness(const std::vector<net::Endpoint>& endpoints, int fd);

}  // namespace brood::server

#endif  // BROOD_SERVER_READINESS_H_

// Readiness: tells the world that connections are accepted.
//
// Called in the parent, once every listener listens: from that moment on the
// kernel completes connections, so whoever reads the line may connect. Writes
//
//   listening 127.0.0.1:7000
//
// for each endpoint, in the order of the options; with port 0 this is how a
// script or a test learns the port. Like the log it never waits for a reader:
// what can't be written at once is lost, and that is no error. `fd` stays the
// caller's.
//
// Example:
//   AnnounceReadiness((*server)->endpoints(), STDOUT_FILENO);

#ifndef BROOD_SERVER_READINESS_H_
#define BROOD_SERVER_READINESS_H_

#include <vector>

#include "brood/net/endpoint.h"

namespace brood::server {

void AnnounceReadiness(const std::vector<net::Endpoint>& endpoints, int fd);

}  // namespace brood::server

#endif  // BROOD_SERVER_READINESS_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_RECIPES_GREET_H_
#define BROOD_TESTING_RECIPES_GREET_H_

#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"

namespace recipes {

// Sends a line, and ends: the handler that the recipes test.
inline brood::server::ExitCode Greet(brood::net::Connection& connection) {
  return brood::net::WriteFull(connection.socket(), "hello\n").ok()
             ? brood::server::ExitCode::kServed
             : brood::server::ExitCode::kPeerLost;
}

}  // namespace recipes

#endif  // BROOD_TESTING_RECIPES_GREET_H_

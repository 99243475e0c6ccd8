// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_RECIPES_GREET_H_
#define BROOD_TESTING_RECIPES_GREET_H_

#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"

namespace recipes {

// The handler that the recipes test: sends a line, and ends.
inline brood::server::ExitCode Greet(brood::net::Connection& connection) {
  return brood::net::WriteFull(connection.socket(), "hello\n").ok()
             ? brood::server::ExitCode::kServed
             : brood::server::ExitCode::kPeerLost;
}

}  // namespace recipes

#endif  // BROOD_TESTING_RECIPES_GREET_H_

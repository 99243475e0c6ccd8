// SPDX-License-Identifier: Apache-2.0

#include "server/for_brood.h"

namespace embedder {

brood::server::Options ForBrood(const Options& options) {
  brood::server::Options for_brood;
  for_brood.listen = {options.listen};
  for_brood.max_connections = options.max_clients;
  for_brood.log.level = brood::server::LogLevel::kWarning;
  return for_brood;
}

}  // namespace embedder

// SPDX-License-Identifier: Apache-2.0

#ifndef SERVER_FOR_BROOD_H_
#define SERVER_FOR_BROOD_H_

#include "brood/server/options.h"
#include "server/options.h"

namespace embedder {

// Returns Brood's options for those of this tree.
//
// Pure, and never fails: what Brood cannot do is an error of
// TcpServer::Create(). Fields that this tree has no option for keep Brood's
// defaults, except the log: Brood's warnings are enough here.
//
// Example:
//   auto server = TcpServer::Create(ForBrood(OptionsFromFlags()), handler);
brood::server::Options ForBrood(const Options& options);

}  // namespace embedder

#endif  // SERVER_FOR_BROOD_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef SERVER_FOR_BROOD_H_
#define SERVER_FOR_BROOD_H_

#include "brood/server/options.h"
#include "server/options.h"

namespace embedder {

// Returns Brood's options for those of this tree.
//
// A pure function that never fails: values that Brood refuses are errors of
// TcpServer::Create(). Fields without an option in this tree keep Brood's
// defaults, except the log level, which is "warning".
//
// Example:
//   auto server = TcpServer::Create(ForBrood(OptionsFromFlags()), handler);
brood::server::Options ForBrood(const Options& options);

}  // namespace embedder

#endif  // SERVER_FOR_BROOD_H_

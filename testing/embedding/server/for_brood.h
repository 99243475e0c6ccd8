// ForBrood: this house's options, in Brood's words.
//
// What is not ours to say stays as Brood has it, but for the log: Brood's
// warnings are enough here. Pure, and never fails; whether Brood can do what it
// is asked, TcpServer::Create() says.
//
// Example:
//   auto server = TcpServer::Create(ForBrood(OptionsFromFlags()), handler);

#ifndef SERVER_FOR_BROOD_H_
#define SERVER_FOR_BROOD_H_

#include "brood/server/options.h"
#include "server/options.h"

namespace embedder {

brood::server::Options ForBrood(const Options& options);

}  // namespace embedder

#endif  // SERVER_FOR_BROOD_H_

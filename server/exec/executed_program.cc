// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/executed_program.h"

#include <sys/socket.h>
#include <unistd.h>

#include "absl/types/optional.h"
#include "brood/server/exec/environment.h"

namespace brood::server {
namespace {

ConnectionFacts FactsOf(const net::Connection& connection) {
  ConnectionFacts facts = {connection.peer(), connection.local(), absl::nullopt,
                           connection.connections_of_host()};
  if (!facts.peer.is_unix()) return facts;
  ucred credentials;
  socklen_t size = sizeof(credentials);
  if (getsockopt(connection.fd(), SOL_SOCKET, SO_PEERCRED, &credentials,
                 &size) == 0) {
    facts.credentials = credentials;
  }
  return facts;
}

}  // namespace

void ExecutedProgram::AddVariables(const net::Connection& connection,
                                   Variables* variables) const {
  const ConnectionFacts facts = FactsOf(connection);
  AddConnectionVariables(facts, variables);
  switch (extra) {
    case Extra::kNone:
      break;
    case Extra::kRemoteHost:
      AddInetdVariables(facts, variables);
      break;
    case Extra::kListenFds:
      AddSystemdVariables(getpid(), variables);
      break;
  }
}

}  // namespace brood::server

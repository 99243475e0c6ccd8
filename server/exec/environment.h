// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_EXEC_ENVIRONMENT_H_
#define BROOD_SERVER_EXEC_ENVIRONMENT_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/endpoint.h"
#include "brood/net/peer_address.h"
#include "brood/server/exec/variables.h"

namespace brood::server {

// ConnectionFacts is what the environment of a program contains about its
// connection. Every value is a number or an address that Brood prints, or the
// name that the server itself has bound: no byte comes from the client.
struct ConnectionFacts {
  // The address of the client, and the endpoint to which it connected.
  net::PeerAddress peer;
  net::Endpoint local;

  // The user and the group of the client of a unix socket, if the kernel
  // reports them.
  absl::optional<ucred> credentials;

  // As Connection has it.
  uint32_t connections_of_host = 1;
};

// Returns the variables, each "NAME=VALUE", that do not depend on the
// connection: PATH, HOME, LANG, LC_* and TZ of `inherited` (as environ has it;
// may be null), and those of `added` (as in ExecOptions::environment), which
// replace them. Runs in the parent.
//
// Returns InvalidArgument, beginning with "environment=NAME", for a malformed
// name, for a name that describes a connection, and for a NAME without a value
// that `inherited` does not have.
absl::StatusOr<std::vector<std::string>> LastingVariables(
    const char* const* inherited, absl::Span<const std::string> added);

// Adds the variables that describe a connection, in the order of
// docs/programs.md. Runs in the child, as the functions below do.
void AddConnectionVariables(const ConnectionFacts& facts, Variables* variables);

// Adds the variable that programs for xinetd expect: the address of the client
// as REMOTE_HOST.
void AddInetdVariables(const ConnectionFacts& facts, Variables* variables);

// Adds the variables by which the program `pid` learns that descriptor 3 is the
// connection.
void AddSystemdVariables(pid_t pid, Variables* variables);

}  // namespace brood::server

#endif  // BROOD_SERVER_EXEC_ENVIRONMENT_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef SERVER_OPTIONS_H_
#define SERVER_OPTIONS_H_

#include <string>

namespace embedder {

// Options is what every server of this tree reads from its command line.
//
// A value. Not Brood's options, which are in "brood/server/options.h" and are
// made of these by for_brood.h. The flags --listen and --max_clients are
// defined by this library; the --listen of Brood's own server is no conflict,
// because Brood's libraries define no flags.
//
// Errors: gflags ends a program whose command line it cannot read. Values that
// Brood refuses are errors of TcpServer::Create().
//
// Example:
//   gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
//   Options options = OptionsFromFlags();
struct Options {
  // Names the one endpoint; port 0 is a free port.
  std::string listen = "127.0.0.1:0";
  // Limits how many clients are served at once.
  int max_clients = 100;
};

// Returns the values of the flags.
Options OptionsFromFlags();

}  // namespace embedder

#endif  // SERVER_OPTIONS_H_

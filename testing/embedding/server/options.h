// SPDX-License-Identifier: Apache-2.0

#ifndef SERVER_OPTIONS_H_
#define SERVER_OPTIONS_H_

#include <string>

namespace embedder {

// Options is the command line of every server of this tree.
//
// A value. The options of Brood are in "brood/server/options.h", and
// for_brood.h converts these to those. This library defines the flags --listen
// and --max_clients; they do not conflict with those of Brood's own server,
// because the libraries of Brood define no flags.
//
// Errors: gflags ends a program whose command line it cannot read. Values that
// Brood refuses are errors of TcpServer::Create().
//
// Example:
//   gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
//   Options options = OptionsFromFlags();
struct Options {
  // The endpoint; with port 0 the kernel chooses a free port.
  std::string listen = "127.0.0.1:0";
  // How many clients are served at once, at most.
  int max_clients = 100;
};

// Returns the values of the flags.
Options OptionsFromFlags();

}  // namespace embedder

#endif  // SERVER_OPTIONS_H_

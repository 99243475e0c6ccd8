// Options: what every server of this house is told on its command line.
//
// A value, read once when the program starts. Not Brood's options, which are in
// "brood/server/options.h" and are made of these by for_brood.h. The flags
// --listen and --max_clients are defined here; that Brood's own server has a
// --listen too is no matter, since its libraries define no flags.
//
// Errors: gflags ends a program whose command line it can't read. What it can,
// and Brood can't, is for TcpServer::Create() to say.
//
// Example:
//   gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
//   Options options = OptionsFromFlags();

#ifndef SERVER_OPTIONS_H_
#define SERVER_OPTIONS_H_

#include <string>

namespace embedder {

struct Options {
  // One endpoint; port 0 for a free port.
  std::string listen = "127.0.0.1:0";
  // Clients at a time.
  int max_clients = 100;
};

Options OptionsFromFlags();

}  // namespace embedder

#endif  // SERVER_OPTIONS_H_

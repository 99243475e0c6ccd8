// Options: what an embedder decides about a server, with units in the types.
//
// A value, read once when the server is created. The names are those of the
// standalone server's flags.
//
// Errors: Validate() gives InvalidArgument for the first bad field, as
// "max_connections=0: must be 1 to 1000000".
//
// Example:
//   Options options;
//   options.listen = {"127.0.0.1:7000", "[::1]:7000"};
//   options.max_connections = 200;

#ifndef BROOD_SERVER_OPTIONS_H_
#define BROOD_SERVER_OPTIONS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace brood::server {

enum class LogLevel { kInfo, kWarning, kError, kOff };

struct Options {
  // Where to listen; see net/endpoint.h for the spellings. At least one.
  std::vector<std::string> listen = {"127.0.0.1:7000"};
  // How processes are made. "fork": one for each connection, after accept.
  std::string strategy = "fork";
  // Bytes that a child takes from its client at a time.
  int max_size = 1024;
  // Children alive at once. When they are, nobody is turned away: the listeners
  // rest, and clients wait in the kernel's queue.
  int max_connections = 1000;
  // Length of that queue; 0 for the longest that the machine allows.
  int backlog = 0;
  // From the request to stop until children are terminated, then killed.
  absl::Duration drain_grace = absl::Seconds(10);
  // The log is standard error. An embedder that wants silence says kOff.
  LogLevel log_level = LogLevel::kInfo;
  // Whether Run() takes SIGTERM and SIGINT as requests to stop (and SIGHUP and
  // SIGUSR2, which it will serve later, as data). If not, they stay with the
  // embedder, who calls RequestDrain().
  bool take_signals = true;
  // Whether every child of this process is this server's, as in the standalone
  // one. See proc/reaper.h. Leave it off in a program that has children too.
  bool owns_all_children = false;
  // Adopt and bury orphans of this process's children, as PID 1 of a container
  // must. Implies owns_all_children.
  bool init = false;

  absl::Status Validate() const;
};

// "info", "warning", "error" or "off".
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text);

}  // namespace brood::server

#endif  // BROOD_SERVER_OPTIONS_H_

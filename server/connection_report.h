// ConnectionReport: what became of one connection, for the embedder.
//
// A value, given to Options::on_connection_end in the parent, once for each
// connection that a process had. It is the embedder's to keep. Times are on the
// monotonic clock. (Connections for which no process could be made have no
// report; Totals::fork_failed counts them.)
//
// Example:
//   options.on_connection_end = [&](const ConnectionReport& report) {
//     if (!report.status.exited()) ++crashes[report.peer.ToString()];
//   };

#ifndef BROOD_SERVER_CONNECTION_REPORT_H_
#define BROOD_SERVER_CONNECTION_REPORT_H_

#include <sys/types.h>

#include "absl/time/time.h"
#include "brood/net/peer_address.h"
#include "brood/proc/exit_status.h"

namespace brood::server {

struct ConnectionReport {
  net::PeerAddress peer;
  // Of the process that served it. For the log only: it has been reaped, or
  // (strategy "pool") serves another connection by now.
  pid_t pid;
  // How it ended, with the resources that it used (rusage).
  proc::ExitStatus status;
  // Whether the server itself told it to end.
  bool signalled_by_us;
  // From accept until a process had the connection,
  absl::Duration accept_to_child;
  // and until the end was known.
  absl::Duration duration;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONNECTION_REPORT_H_

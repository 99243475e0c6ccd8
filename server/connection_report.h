// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CONNECTION_REPORT_H_
#define BROOD_SERVER_CONNECTION_REPORT_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/peer_address.h"
#include "brood/proc/exit_status.h"
#include "brood/server/totals.h"

namespace brood::server {

// ConnectionReport is how one connection ended.
//
// A value, passed to Options::on_connection_end in the parent, once for each
// connection that a process had. (Connections for which no process could be
// created have no report; Totals::fork_failed counts them.)
//
// Example:
//   options.on_connection_end = [&](const ConnectionReport& report) {
//     if (!report.status.exited()) ++crashes[report.peer.ToString()];
//   };
struct ConnectionReport {
  // The address of the client.
  net::PeerAddress peer;
  // The pid of the process that served it. For the log only: the process has
  // been reaped, or (strategy "pool") serves another connection by now.
  pid_t pid = 0;
  // How the process ended, with the resources that it used (rusage).
  proc::ExitStatus status = proc::ExitStatus::Unknown();
  // Whether the server has sent the process a signal to end it.
  bool signalled_by_us = false;
  // The time from accept until a process had the connection.
  absl::Duration accept_to_child;
  // The time from accept until the end was known.
  absl::Duration duration;
  // The address of this machine that the client connected to.
  net::PeerAddress local;
  // The number of the connection: 1, 2, 3 ... in the order in which this server
  // accepted them.
  uint64_t number = 0;
  // When the connection was accepted, by the clock of the machine, which may be
  // set at any time: for the reader of a report. The epoch in the log of a
  // server without Options::on_connection_end.
  absl::Time started = absl::UnixEpoch();
  // Why the server has sent that signal; nothing if it has not.
  absl::optional<KillReason> kill_reason;

  // The time that the handler took; until its process ended if that came first.
  //
  // This and the three fields below are what the child reported: zero and empty
  // unless Options::handler_reports is on and the handler was called. Never
  // trust them: a child that its client has compromised may report anything.
  // The times lie within `duration`.
  absl::Duration handler_time;
  // The time from the end of the handler until the connection was closed; see
  // Options::linger.
  absl::Duration linger_time;
  // The message of the exception that the handler threw: at most 256 bytes,
  // whatever they are.
  std::string exception;
  // The text that the handler set last by Annotate(): at most 256 bytes,
  // whatever they are.
  std::string annotation;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONNECTION_REPORT_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CONTROL_SERVICE_MANAGER_H_
#define BROOD_SERVER_CONTROL_SERVICE_MANAGER_H_

#include <sys/types.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/proc/private_fds.h"
#include "brood/server/log/event_log.h"

namespace brood::server {

// ServiceManager notifies the program that started this server how far it is.
//
// It speaks the protocol of sd_notify(3): systemd and others name a unix socket
// in the variable NOTIFY_SOCKET, and each notification is one datagram to it,
// such as "READY=1". A service of Type=notify counts as started when it has
// sent that; one of Type=notify-reload also reports when a reload begins and
// ends.
//
// Lives in the parent and belongs to the supervisor. Never blocks: a
// notification that cannot be sent, because the queue of the socket is full, is
// dropped, and the log reports it. Children get no descriptor of it.
//
// Errors: Create() returns InvalidArgument if the address is malformed, and
// otherwise the errno of the call, naming the address: FailedPrecondition if no
// program listens there.
//
// Example:
//   auto manager = ServiceManager::Create("/run/systemd/notify", &log);
//   (*manager)->Ready();  // connections are accepted from now on
class ServiceManager {
 public:
  // Checks that the service manager listens at `address`: a path, or @ and a
  // name. With an empty address nothing is ever sent.
  static absl::StatusOr<std::unique_ptr<ServiceManager>> Create(
      absl::string_view address, EventLog* log);

  // Notifies that connections are accepted from now on; after Reloading(), that
  // they are accepted again.
  void Ready();
  // Notifies that a reload lasts from `now`, on the clock of net::Now(), until
  // Ready().
  void Reloading(net::Instant now);
  // Notifies that the server stops and admits no other clients.
  void Stopping();
  // Notifies that the process `pid` is the main process of the service from now
  // on, in place of this one, and that it is ready.
  void MainPid(pid_t pid);
  // Sends `text` as a status line, which tools show to the operator.
  void Status(absl::string_view text);

 private:
  // Takes ownership of `socket`, an unconnected datagram socket, or an invalid
  // one if nothing is ever sent. `log` outlives this object.
  ServiceManager(const net::Endpoint& address, net::Socket socket,
                 EventLog* log);
  // Sends `lines` as one datagram.
  void Notify(absl::string_view lines);

  const net::Endpoint address_;
  // Invalid if there is no service manager.
  const proc::Private<net::Socket> socket_;
  EventLog* const log_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_SERVICE_MANAGER_H_

// SPDX-License-Identifier: Apache-2.0

// ServiceManager: tells the program that started us how far we are.
//
// The protocol of sd_notify(3): systemd and others name a unix socket in the
// variable NOTIFY_SOCKET, and each word is one datagram to it, such as
// "READY=1". A service of Type=notify counts as started when it says so, and
// not before; one of Type=notify-reload says when it begins and ends to reload.
//
// Lives in the parent; belongs to the supervisor. Never blocks: a word that can
// not be sent (nobody takes them out of a full queue) is lost, and the log says
// so. Children get no descriptor of it.
//
// Errors: Create() gives InvalidArgument if the address is none, and otherwise
// the errno of the call, naming the address: FailedPrecondition if nobody
// listens there.
//
// Example:
//   auto manager = ServiceManager::Create("/run/systemd/notify", &log);
//   if (!manager.ok()) return manager.status();
//   (*manager)->Ready();  // connections are accepted from now on
//   ...
//   (*manager)->Stopping();

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

class ServiceManager {
 public:
  // Connects to `address`, a path, or @ and a name, at which the service
  // manager listens. With an empty address nothing is ever sent.
  static absl::StatusOr<std::unique_ptr<ServiceManager>> Create(
      absl::string_view address, EventLog* log);

  // Connections are accepted; or are again, after Reloading().
  void Ready();
  // From `now` until Ready(), on the clock of net::Now().
  void Reloading(net::Instant now);
  // Nobody new is let in any more.
  void Stopping();
  // From now on this process is the service's main one, which we are no longer;
  // it is ready.
  void MainPid(pid_t pid);
  // One line, for people.
  void Status(absl::string_view text);

 private:
  ServiceManager(const net::Endpoint& address, net::Socket socket,
                 EventLog* log);
  void Say(absl::string_view words);

  const net::Endpoint address_;
  // Not valid if there is no service manager.
  const proc::Private<net::Socket> socket_;
  EventLog* const log_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_SERVICE_MANAGER_H_

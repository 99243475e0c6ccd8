// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_DEADLINES_ACTIVITY_SOURCES_H_
#define BROOD_SERVER_DEADLINES_ACTIVITY_SOURCES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "brood/net/listener.h"
#include "brood/net/tcp_activity.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

// ActivitySources holds a TcpActivity for each network namespace in which a
// listener is, and finds the one that can be asked about a connection.
//
// A listener that was inherited may be in another namespace than the server, as
// with PrivateNetwork= of systemd. The kernel answers the questions of this
// process for its own namespace, where connections of such a listener are not
// found. So Add() asks about each listener at start, in the same way as about
// connections later. If the listener is not found, Add() opens a netlink socket
// in its namespace, which needs privileges.
//
// Lives in the parent, in memory that children do not get. Allocates nothing
// after the last Add().
//
// Errors: Add() returns why the connections of a listener cannot be asked
// about, and what the operator can do about it.
//
// Example:
//   ActivitySources sources;
//   absl::Status visible = sources.Add(listener);
//   const net::TcpActivity* activity = sources.Find(connection.fd());
class ActivitySources {
 public:
  // Makes sure that connections of `listener`, which is no unix socket, can be
  // asked about.
  absl::Status Add(const net::Listener& listener);

  // Returns the source that answers about the TCP connection `fd`; null if its
  // listener was not added.
  const net::TcpActivity* Find(int fd) const;

 private:
  // Source is a TcpActivity, and the network namespace that it asks about.
  struct Source {
    // The cookie of its network namespace; zero if the kernel has none.
    uint64_t network;
    proc::Private<net::TcpActivity> activity;
  };

  // Makes sure that a source answers about connections of the listener `fd`,
  // and adds one if necessary. Returns what Add() returns.
  absl::Status TryAdd(int fd);

  proc::ParentOnlyVector<Source> sources_;
  // Whether there is a listener that could not be added.
  bool some_failed_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_ACTIVITY_SOURCES_H_

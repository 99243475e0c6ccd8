// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_HANDSHAKE_H_
#define BROOD_SERVER_UPGRADE_HANDSHAKE_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/event_fd.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/program.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/listening/lent_listener.h"

namespace brood::server {

// Handshake passes the listeners of an old program to the new one that it
// starts, and reports back when the new one is ready.
//
// The old program calls Send(); upgrade.h is the rest of its side. The new
// program calls Receive(), and owns what it received. The descriptors have the
// numbers from 3 on, in order: an eventfd on which readiness is reported, then
// the listeners. The environment variable BROOD_UPGRADE has a line for each
// listener: the entry of Options::listen that it serves, followed by a tab and
// "bound" if the listening is to end with the last program that has it. On the
// same eventfd the old program reports when it has closed its copies.
//
// Runs in the parent of each program. Children inherit neither the descriptors
// nor the variable.
//
// Errors: Receive() returns InvalidArgument, naming the variable and the
// descriptor, if they do not match; no descriptor is left open then.
//
// Example, in the new program:
//   auto handshake = Handshake::Receive();
//   if (!handshake.ok()) return handshake.status();
//   ... listen, with handshake->TakeListeners() ...
//   handshake->ReportReady();
class Handshake {
 public:
  // What the old program adds to the eventfd when it has closed the listeners.
  static constexpr uint64_t kReleased = uint64_t{1} << 32;

  // Makes a handshake that holds no listeners and reports to no program.
  Handshake() = default;

  // Gives `program` the descriptors, and the environment of this process with
  // the variable. Called in the old program. `ready_fd` is the eventfd.
  static void Send(int ready_fd, const std::vector<LentListener>& listeners,
                   proc::Program* program);

  // Reports whether another program has started this one as its successor and
  // Receive() has not been called yet.
  static bool IsPending();

  // Takes ownership of the descriptors, makes them close-on-exec and removes
  // the variable. Called in the new program. Returns Handshake() if this
  // program was started in another way.
  static absl::StatusOr<Handshake> Receive();

  // Returns the received listeners, which belong to the caller from now on.
  std::vector<InheritedListener> TakeListeners();

  // Reports to the old program, if there is one, that this one accepts
  // connections from now on. Does nothing when it is called again.
  void ReportReady();

  // Returns whether no earlier program has the listeners: there was none, it
  // has closed its copies, or it has ended.
  bool IsSoleHolder();

 private:
  proc::Private<net::EventFd> ready_;
  bool reported_ = false;
  // The program that started this one; 0 if it has no listeners any more.
  pid_t old_program_ = 0;
  std::vector<InheritedListener> listeners_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_HANDSHAKE_H_

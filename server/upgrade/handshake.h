// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_HANDSHAKE_H_
#define BROOD_SERVER_UPGRADE_HANDSHAKE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/event_fd.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/program.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/listening/lent_listener.h"
#include "brood/server/upgrade/generation_link.h"

namespace brood::server {

// Handshake passes the listeners of an old program to the new one that it
// starts, and reports back when the new one is ready.
//
// The old program calls MakeOffer(); upgrade.h is the rest of its side. The new
// program calls Receive(), and owns what it received. The descriptors have the
// numbers from 3 on, in order: an eventfd on which readiness is reported, then
// the listeners. The environment variable BROOD_UPGRADE has a line for each
// listener: the entry of Options::listen that it serves, followed by a tab and
// "bound" if the listening is to end with the last program that has it. On the
// same eventfd the old program reports when it has closed its copies. If there
// is a main process, the variable BROOD_MAIN_PROCESS has the number of the
// descriptor that links the new program to it (generation_link.h). If there is
// none, BROOD_OLDER has the numbers of pidfds, separated by commas, of the
// programs that still have connections.
//
// Runs in the parent of each program. Children inherit neither the descriptors
// nor the variable.
//
// Errors: Receive() returns InvalidArgument, naming the variable and the
// descriptor, if they do not match; no descriptor is left open then.
//
// Example, in the new program:
//   absl::StatusOr<Handshake> handshake = Handshake::Receive();
//   if (!handshake.ok()) return handshake.status();
//   ... listen, with handshake->TakeListeners() ...
//   handshake->ReportReady();
class Handshake {
 public:
  // Offer is what the new program gets.
  struct Offer {
    // Lends the descriptors, in the order of their numbers.
    std::vector<int> fds;
    // Holds the value of BROOD_UPGRADE.
    std::string variable;
  };

  // What the old program adds to the eventfd when it has closed the listeners.
  static constexpr uint64_t kReleased = uint64_t{1} << 32;

  // Makes a handshake that holds no listeners and reports to no program.
  Handshake() = default;

  // Returns the offer of the old program. `ready_fd` is the eventfd.
  static Offer MakeOffer(int ready_fd,
                         const std::vector<LentListener>& listeners);
  // Returns the program of `command`, with what `offer` has and the environment
  // of this process. It is told of `notify_socket`, unless that is empty.
  static proc::Program MakeProgram(const std::vector<std::string>& command,
                                   const std::string& notify_socket,
                                   const Offer& offer);
  // Adds the link to a main process, whose end is `fd`, to `program`.
  static void AddLink(int fd, proc::Program* program);
  // Adds `pidfds`, those of older programs, to `program`.
  static void AddOlder(const std::vector<int>& pidfds, proc::Program* program);

  // Reports whether another program has started this one as its successor and
  // Receive() has not been called yet.
  static bool IsPending();

  // Takes ownership of the descriptors, makes them close-on-exec and removes
  // the variables. Called in the new program. Returns Handshake() if this
  // program was started in another way.
  static absl::StatusOr<Handshake> Receive();

  // Returns the received listeners, which belong to the caller from now on.
  std::vector<InheritedListener> TakeListeners();
  // Returns the link to the main process, which belongs to the caller from now
  // on. It is closed if there is no main process.
  GenerationLink TakeLink();
  // Returns the pidfds of older programs, which belong to the caller from now
  // on.
  std::vector<net::UniqueFd> TakeOlder();

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
  GenerationLink link_;
  std::vector<net::UniqueFd> older_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_HANDSHAKE_H_

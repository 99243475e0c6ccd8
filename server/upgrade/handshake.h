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
// program calls Receive(), and owns what it received. handshake.cc describes
// what the two programs exchange: descriptors with fixed numbers, and
// environment variables that describe them.
//
// Runs in the parent of each program. Children inherit neither the descriptors
// nor the variables.
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
  // Offer is what the old program passes to the new one.
  struct Offer {
    // Lends the descriptors, in the order of their numbers.
    std::vector<int> fds;
    // Holds the value of BROOD_UPGRADE.
    std::string variable;
  };

  // The number that the old program adds to the eventfd when it has closed its
  // listeners.
  static constexpr uint64_t kReleased = uint64_t{1} << 32;

  // Makes a handshake that holds no listeners and reports to no program.
  Handshake() = default;

  // Returns the offer of the old program: `listeners`, and `ready_fd`, the
  // eventfd.
  static Offer MakeOffer(int ready_fd,
                         const std::vector<LentListener>& listeners);
  // Returns the program of `command`, with the descriptors and the variable of
  // `offer` and the environment of this process. NOTIFY_SOCKET of the program
  // is `notify_socket`, unless that is empty.
  static proc::Program MakeProgram(const std::vector<std::string>& command,
                                   const std::string& notify_socket,
                                   const Offer& offer);
  // Adds the link to a main process, whose end is `fd`, to `program`.
  static void AddLink(int fd, proc::Program* program);
  // Adds `pidfds`, those of older programs, to `program`.
  static void AddOlder(const std::vector<int>& pidfds, proc::Program* program);

  // Returns whether another program has started this one as its new generation,
  // and Receive() has not been called yet.
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

// Predecessor: the program that started this one to take its place.
//
// It handed this program its listening descriptors, and serves until it is told
// that this one is ready. upgrade.h is its side. What it hands over travels as
// open descriptors from number kReadyFd up, and their meaning in the
// environment variable BROOD_UPGRADE: for each listener a line with the entry
// of Options::listen that it serves.
//
// Lives in the parent, before and while it starts. Find() takes ownership of
// the descriptors, makes them close-on-exec and removes the variable, so that
// no child takes itself for a successor.
//
// Errors: InvalidArgument that names the variable and the descriptor, if they
// do not fit each other; nothing is left open then.
//
// Example:
//   auto predecessor = Predecessor::Find();
//   if (!predecessor.ok()) return predecessor.status();
//   ... listen, with (*predecessor)->TakeListeners() ...
//   if (*predecessor) (*predecessor)->SayReady();

#ifndef BROOD_SERVER_UPGRADE_HANDSHAKE_H_
#define BROOD_SERVER_UPGRADE_HANDSHAKE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/socket.h"
#include "brood/proc/program.h"

namespace brood::server {

// A listening descriptor and the entry of Options::listen that it serves.
struct HandedListener {
  int fd;
  std::string entry;
};

class Predecessor {
 public:
  // Has no listeners and reports to no program.
  Predecessor() = default;
  // Returns what this program was given by the one that started it; nothing if
  // it was started in another way.
  static absl::StatusOr<Predecessor> Find();
  // Whether Find() would look for one.
  static bool Expected();

  // The other side: gives `program` the descriptors and the environment of this
  // process by which it will find its predecessor.
  static void Introduce(int ready_fd,
                        const std::vector<HandedListener>& listeners,
                        proc::Program* program);

  // Gives the listeners to the caller, who now owns their descriptors.
  std::vector<HandedListener> TakeListeners();
  // Connections are accepted from now on. To be said once.
  void SayReady();

 private:
  struct Listener {
    net::Socket socket;
    std::string entry;
  };

  net::Socket ready_;
  std::vector<Listener> listeners_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_HANDSHAKE_H_

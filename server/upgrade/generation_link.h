// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_GENERATION_LINK_H_
#define BROOD_SERVER_UPGRADE_GENERATION_LINK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/net/socket.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

// GenerationLink connects the main process of a server, which was started first
// and stays, with a generation: a program that has taken over since.
//
// Each end belongs to one process, and is closed when that process ends: the
// other process then reads the end of the link. Messages are numbers, so that
// programs of different versions understand each other; a program that does not
// know a number ignores the message.
//
// Process: the parent, in each of the two programs. A resource: it can be
// moved, but not copied. No call blocks. Not thread-safe.
//
// Errors: CreatePair() names the call. Send() returns Unavailable if the other
// end has read nothing for long, and the error of sendmsg if it is closed.
//
// Example:
//   auto pair = GenerationLink::CreatePair();
//   pair->first.Send({GenerationLink::Kind::kStop, 0, 1});
class GenerationLink {
 public:
  // Kind is what a message is about. The numbers must not change.
  enum class Kind : uint32_t {
    // Asks the receiver to stop, `value` times.
    kStop = 1,
    // Asks the receiver for an upgrade.
    kUpgrade = 2,
    // To the main process: brings a descriptor for a program.
    kDescriptor = 3,
    // To the main process: asks it to start a program with the descriptors that
    // came before. The text is the variable of the handshake.
    kStart = 4,
    // To the main process: the program `pid` has taken over.
    kTookOver = 5,
    // To the main process: asks it to kill the program `pid`.
    kKill = 6,
    // To a generation: the program that it asked for is `pid`.
    kStarted = 7,
    // To a generation: that program was not started. The text says why.
    kNotStarted = 8,
    // To a generation: the program `pid` ended with the wait status `value`.
    kEnded = 9,
  };

  // Message is what is sent.
  struct Message {
    Kind kind;
    // Identifies a program, 0 for none.
    int32_t pid = 0;
    // Holds a count or a status.
    int32_t value = 0;
  };

  // Received is a message that was received.
  struct Received : Message {
    // Holds what followed the numbers.
    std::string text;
    // Owns the descriptor that came with it; not valid if none did.
    net::Socket descriptor;
  };

  // The longest text of a message, in bytes.
  static constexpr size_t kLongestText = size_t{64} << 10;

  // Makes a link that has ended.
  GenerationLink() = default;
  // Makes a link of which both ends belong to the caller. Both are
  // close-on-exec.
  static absl::StatusOr<std::pair<GenerationLink, GenerationLink>> CreatePair();
  // Takes ownership of one end.
  static GenerationLink Adopt(net::Socket socket) {
    return GenerationLink(std::move(socket));
  }

  // Sends a message, with a copy of `fd` unless that is -1.
  absl::Status Send(const Message& message, absl::string_view text = "",
                    int fd = -1) const;
  // Returns the next message; nothing if none waits, or if the link has ended,
  // which closes this end. Skips what is not a message.
  absl::optional<Received> Receive();

  // Returns whether the link has ended, because the other program has ended or
  // has closed its end.
  bool closed() const { return socket_.fd() < 0; }
  // Closes this end.
  void Close() { socket_.Close(); }
  // Lends the descriptor of this end, -1 if it is closed.
  int fd() const { return socket_.fd(); }

 private:
  // Takes ownership of `socket`, one end of a link.
  explicit GenerationLink(net::Socket socket) : socket_(std::move(socket)) {}

  proc::Private<net::Socket> socket_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_GENERATION_LINK_H_

// SPDX-License-Identifier: Apache-2.0

// AncillaryMessage: what a program that means harm may send on a unix socket
// besides bytes: descriptors, and the word of who it is.
//
// For tests of what receives such messages. Works in any process. The
// descriptors stay the caller's. Errors are those of sendmsg(2), as it gives
// them.
//
// Example:
//   AncillaryMessage message{"hello"};
//   message.descriptors = {STDERR_FILENO, STDERR_FILENO};
//   ASSERT_EQ(Send(message, queue.fd_to_offer()), 5);

#ifndef BROOD_TESTING_SUPPORT_ANCILLARY_MESSAGE_H_
#define BROOD_TESTING_SUPPORT_ANCILLARY_MESSAGE_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace brood::testing {

struct AncillaryMessage {
  absl::string_view bytes;
  std::vector<int> descriptors = {};
  // Who sends it, as he says. The kernel lets only root lie.
  absl::optional<ucred> sender = absl::nullopt;
};

// Never blocks, and raises no SIGPIPE. Gives the number of bytes, or -1.
ssize_t Send(const AncillaryMessage& message, int fd);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_ANCILLARY_MESSAGE_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_ANCILLARY_MESSAGE_H_
#define BROOD_TESTING_SUPPORT_ANCILLARY_MESSAGE_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace brood::testing {

// AncillaryMessage is a message that a malicious program may send on a unix
// socket: bytes, descriptors, and credentials.
//
// For tests of the receivers of such messages. A value, for any process. The
// caller still owns the descriptors.
//
// Example:
//   AncillaryMessage message{"hello"};
//   message.descriptors = {STDERR_FILENO, STDERR_FILENO};
//   ASSERT_EQ(Send(message, queue.fd_to_offer()), 5);
struct AncillaryMessage {
  // The bytes of the message.
  absl::string_view bytes;
  // The descriptors that are sent along.
  std::vector<int> descriptors = {};
  // The credentials that the message claims; none are sent if not set. The
  // kernel refuses false ones, except from root.
  absl::optional<ucred> sender = absl::nullopt;
};

// Sends `message` on the socket `fd`. Never blocks, and raises no SIGPIPE.
// Returns the number of bytes, or -1 with the errno of sendmsg.
ssize_t Send(const AncillaryMessage& message, int fd);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_ANCILLARY_MESSAGE_H_

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/ancillary_message.h"

#include <cstddef>
#include <cstring>

namespace brood::testing {
namespace {

// Appends one control message of `size` bytes to `control`.
void Append(int type, const void* data, size_t size,
            std::vector<char>* control) {
  if (size == 0) return;
  cmsghdr header = {};
  header.cmsg_level = SOL_SOCKET;
  header.cmsg_type = type;
  header.cmsg_len = CMSG_LEN(size);
  const size_t at = control->size();
  control->resize(at + CMSG_SPACE(size));
  std::memcpy(control->data() + at, &header, sizeof(header));
  std::memcpy(control->data() + at + CMSG_LEN(0), data, size);
}

}  // namespace

ssize_t Send(const AncillaryMessage& message, int fd) {
  std::vector<char> control;
  Append(SCM_RIGHTS, message.descriptors.data(),
         message.descriptors.size() * sizeof(int), &control);
  if (message.sender) {
    Append(SCM_CREDENTIALS, &*message.sender, sizeof(ucred), &control);
  }
  iovec part = {const_cast<char*>(message.bytes.data()), message.bytes.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace brood::testing

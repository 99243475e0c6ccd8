// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/generation_link.h"

#include <sys/socket.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "brood/net/handoff_queue.h"

namespace brood::server {

absl::StatusOr<std::pair<GenerationLink, GenerationLink>>
GenerationLink::CreatePair() {
  absl::StatusOr<net::SeqpacketPair> pair = net::SeqpacketPair::Create();
  if (!pair.ok()) return pair.status();
  return std::make_pair(GenerationLink(std::move(pair->first)),
                        GenerationLink(std::move(pair->second)));
}

absl::Status GenerationLink::Send(const Message& message,
                                  absl::string_view text, int fd) const {
  if (closed()) return absl::UnavailableError("the main process has ended");
  if (text.size() > kLongestText) {
    return absl::ResourceExhaustedError(
        absl::StrCat("sendmsg: a message of ", text.size(), " bytes; at most ",
                     kLongestText, " are sent"));
  }
  const absl::string_view numbers(reinterpret_cast<const char*>(&message),
                                  sizeof(message));
  return net::SendPacket(*socket_, absl::StrCat(numbers, text), fd);
}

absl::optional<GenerationLink::Received> GenerationLink::Receive() {
  std::string bytes(sizeof(Message) + kLongestText, '\0');
  while (!closed()) {
    absl::StatusOr<absl::optional<net::Packet>> packet = net::ReceivePacket(
        *socket_, MSG_DONTWAIT, absl::MakeSpan(&bytes[0], bytes.size()));
    if (absl::IsInvalidArgument(packet.status())) continue;
    if (!packet.ok()) {
      // An error of the socket ends the link, too: each further call would
      // fail.
      Close();
      break;
    }
    if (!packet->has_value()) break;
    if ((*packet)->size < sizeof(Message)) continue;
    Received received;
    std::memcpy(static_cast<Message*>(&received), bytes.data(),
                sizeof(Message));
    received.text =
        bytes.substr(sizeof(Message), (*packet)->size - sizeof(Message));
    received.descriptor = std::move((*packet)->descriptor);
    return received;
  }
  return absl::nullopt;
}

}  // namespace brood::server

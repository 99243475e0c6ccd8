// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_TEXT_LISTEN_ENTRY_H_
#define BROOD_SERVER_TEXT_LISTEN_ENTRY_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"

namespace brood::server {

// ListenEntry is what one entry of Options::listen means.
//
//   127.0.0.1:7000, unix:/run/x.sock, ...   an endpoint (net/endpoint.h)
//   fd:3                                    a descriptor that listens already
//   inherited                               the inherited listeners that no
//                                           other entry means
//
// A value. Errors: InvalidArgument, which quotes the text and names what is
// allowed.
//
// Example:
//   absl::StatusOr<ListenEntry> entry = ListenEntry::Parse("fd:3");
//   if (entry.ok() && entry->kind == ListenEntry::kDescriptor) Use(entry->fd);
struct ListenEntry {
  // Kind is the form of the entry.
  enum Kind { kEndpoint, kDescriptor, kInherited };

  Kind kind = kEndpoint;
  net::Endpoint endpoint;  // of kEndpoint
  int fd = -1;             // of kDescriptor

  // Returns the meaning of `text`.
  static absl::StatusOr<ListenEntry> Parse(absl::string_view text);
};

}  // namespace brood::server

#endif  // BROOD_SERVER_TEXT_LISTEN_ENTRY_H_

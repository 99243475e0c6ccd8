// SPDX-License-Identifier: Apache-2.0

// Tests ListenEntry::Parse() with any text: it refuses the text, or the text is
// the only spelling of its meaning (except for endpoints; see
// net/endpoint_fuzz_test.cc) and fits into a list and into a line.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/server/text/listen_entry.h"
#include "brood/testing/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using brood::net::Endpoint;
  using brood::server::ListenEntry;
  using brood::testing::Require;
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  const absl::StatusOr<ListenEntry> entry = ListenEntry::Parse(text);
  const absl::StatusOr<Endpoint> endpoint = Endpoint::Parse(text);
  if (!entry.ok()) {
    Require(absl::IsInvalidArgument(entry.status()),
            "what is no entry is an invalid argument", text);
    brood::testing::RequireOneLine(entry.status());
    Require(!endpoint.ok(), "an endpoint is an entry", text);
    return 0;
  }
  // --listen is a list with commas, and the variable of Handshake has lines.
  Require(std::none_of(text.begin(), text.end(),
                       [](char c) {
                         return absl::ascii_iscntrl(
                                    static_cast<unsigned char>(c)) ||
                                c == ',';
                       }),
          "an entry breaks no line and no list", text);
  switch (entry->kind) {
    case ListenEntry::kInherited:
      Require(text == "inherited", "one word means the inherited ones", text);
      break;
    case ListenEntry::kDescriptor:
      Require(entry->fd >= 0 && absl::StrCat("fd:", entry->fd) == text,
              "a descriptor has one spelling", text);
      break;
    case ListenEntry::kEndpoint:
      Require(endpoint.ok() && *endpoint == entry->endpoint,
              "an entry's endpoint is what the text says", text);
      break;
  }
  Require((entry->fd >= 0) == (entry->kind == ListenEntry::kDescriptor),
          "there is a number where a descriptor is meant alone", text);
  return 0;
}

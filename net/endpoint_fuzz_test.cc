// SPDX-License-Identifier: Apache-2.0

// Checks that Endpoint::Parse() refuses any text, or returns an endpoint whose
// own text parses to the same endpoint.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/testing/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using brood::net::Endpoint;
  using brood::testing::Require;
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  const absl::StatusOr<Endpoint> endpoint = Endpoint::Parse(text);
  if (!endpoint.ok()) {
    Require(absl::IsInvalidArgument(endpoint.status()),
            "a text that is not an endpoint is an InvalidArgument", text);
    brood::testing::RequireOneLine(endpoint.status());
    return 0;
  }
  if (endpoint->is_unix()) {
    Require(endpoint->ToString() == text, "a unix socket has one spelling",
            text);
    Require(*Endpoint::Parse(text) == *endpoint, "one name is one endpoint",
            text);
    Require(endpoint->ToAddress().ToString() == "unix:",
            "an address of a unix connection has no name", text);
    Require(text.size() < Endpoint::kTextSize, "the text fits into kTextSize",
            text);
    Require(std::none_of(text.begin(), text.end(),
                         [](char c) {
                           return static_cast<unsigned char>(c) <= ' ' ||
                                  c == 0x7f || c == ',';
                         }),
            "a name breaks no line and no list", text);
    return 0;
  }
  Require(text.find_first_not_of("0123456789abcdefABCDEF.:[]lohst") ==
              absl::string_view::npos,
          "nothing else is in an endpoint", text);
  Require((text.front() == '[') == absl::StrContains(text, "]:"),
          "an accepted text has both brackets", text);
  const std::string printed = endpoint->ToString();
  Require(printed.size() < Endpoint::kTextSize, "the text fits into kTextSize",
          printed);
  const absl::StatusOr<Endpoint> again = Endpoint::Parse(printed);
  Require(again.ok() && *again == *endpoint,
          "the text of an endpoint parses to the same endpoint", printed);
  Require(again->ToString() == printed, "an endpoint has one text", printed);
  Require(endpoint->WithPort(0).WithPort(endpoint->port()) == *endpoint,
          "WithPort() restores the port", printed);
  return 0;
}

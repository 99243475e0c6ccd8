// SPDX-License-Identifier: Apache-2.0

#include "brood/server/text/listen_entry.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace brood::server {

absl::StatusOr<ListenEntry> ListenEntry::Parse(absl::string_view text) {
  ListenEntry entry;
  absl::string_view digits = text;
  if (text == "inherited") {
    entry.kind = kInherited;
  } else if (absl::ConsumePrefix(&digits, "fd:")) {
    entry.kind = kDescriptor;
    const bool canonical = digits == "0" || !absl::StartsWith(digits, "0");
    if (!canonical ||
        !std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
        !absl::SimpleAtoi(digits, &entry.fd)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", absl::CHexEscape(text),
                       "\" is not a descriptor: after fd: there must be its "
                       "number"));
    }
  } else {
    const absl::StatusOr<net::Endpoint> endpoint = net::Endpoint::Parse(text);
    if (!endpoint.ok()) return endpoint.status();
    entry.endpoint = *endpoint;
  }
  return entry;
}

}  // namespace brood::server

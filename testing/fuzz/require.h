// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FUZZ_REQUIRE_H_
#define BROOD_TESTING_FUZZ_REQUIRE_H_

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace brood::testing {

// Ends the process by SIGABRT unless `holds`, with `claim` and `what` (escaped)
// on standard error. libFuzzer reports such an end as a finding, and in an
// ordinary run it fails the test. For the process of a fuzz test.
//
// Example:
//   Require(again.ok() && *again == *endpoint,
//           "the text of an endpoint parses to the same endpoint", text);
//   RequireOneLine(endpoint.status());
inline void Require(bool holds, absl::string_view claim,
                    absl::string_view what = "") {
  if (holds) return;
  std::cerr << "does not hold: " << claim;
  if (!what.empty()) std::cerr << ": " << absl::CHexEscape(what);
  std::cerr << std::endl;
  std::abort();
}

// Requires that `status` has a message that is one line of a log, whatever text
// it quotes.
inline void RequireOneLine(const absl::Status& status) {
  Require(!status.message().empty() &&
              std::none_of(status.message().begin(), status.message().end(),
                           [](char c) {
                             return absl::ascii_iscntrl(
                                 static_cast<unsigned char>(c));
                           }),
          "a message is a line without control characters", status.message());
}

// Returns a number that changes if a descriptor was opened and not closed. For
// checks that an input leaves no descriptor open, where /proc would be too
// slow.
inline int LowestFreeFd() {
  const int fd = dup(STDERR_FILENO);
  close(fd);
  return fd;
}

}  // namespace brood::testing

#endif  // BROOD_TESTING_FUZZ_REQUIRE_H_

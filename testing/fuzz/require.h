// SPDX-License-Identifier: Apache-2.0

// Require: a claim of a fuzz test, which ends the process if it is not so.
//
// An end by SIGABRT is what libFuzzer takes for a find, and what makes a test
// of an ordinary run fail. Works in the process of the fuzz test; what is said
// goes to standard error, escaped.
//
// Example:
//   Require(again.ok() && *again == *endpoint,
//           "an endpoint's text gives the endpoint back", text);
//   RequireOneLine(endpoint.status());

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

// That `claim` holds for `what`.
inline void Require(bool holds, absl::string_view claim,
                    absl::string_view what = "") {
  if (holds) return;
  std::cerr << "it is not so that " << claim;
  if (!what.empty()) std::cerr << ": " << absl::CHexEscape(what);
  std::cerr << std::endl;
  std::abort();
}

// That the status has something to say, and can be said in one line of a log
// whatever it quotes.
inline void RequireOneLine(const absl::Status& status) {
  Require(!status.message().empty() &&
              std::none_of(status.message().begin(), status.message().end(),
                           [](char c) {
                             return absl::ascii_iscntrl(
                                 static_cast<unsigned char>(c));
                           }),
          "a message is a line without control characters", status.message());
}

// A number that changes when a descriptor was opened and left so: for claims
// that an input leaves nothing open, where /proc would be too slow.
inline int LowestFreeFd() {
  const int fd = dup(STDERR_FILENO);
  close(fd);
  return fd;
}

}  // namespace brood::testing

#endif  // BROOD_TESTING_FUZZ_REQUIRE_H_

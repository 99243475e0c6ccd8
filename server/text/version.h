// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_TEXT_VERSION_H_
#define BROOD_SERVER_TEXT_VERSION_H_

#include "absl/strings/string_view.h"

namespace brood::server {

// The version of this source, which --version prints and each line of JSON
// carries. A test compares it with MODULE.bazel.
inline constexpr absl::string_view kVersion = "0.1.0";

}  // namespace brood::server

#endif  // BROOD_SERVER_TEXT_VERSION_H_

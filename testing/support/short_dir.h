// SPDX-License-Identifier: Apache-2.0

// ShortDir: a directory of a test's own, with a path short enough for a socket.
//
// The name of a unix socket has at most 107 bytes, and the directory that a
// test gets from Bazel is often longer. This one is in /tmp, and is removed at
// the end, with the files in it. For the test process, which makes and destroys
// it; others may use the path. Aborts if it can't be made.
//
// Example:
//   const ShortDir dir;
//   const Endpoint endpoint = dir.Socket("echo.sock");

#ifndef BROOD_TESTING_SUPPORT_SHORT_DIR_H_
#define BROOD_TESTING_SUPPORT_SHORT_DIR_H_

#include <string>

#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"

namespace brood::testing {

class ShortDir {
 public:
  ShortDir();
  ShortDir(const ShortDir&) = delete;
  ShortDir& operator=(const ShortDir&) = delete;
  ~ShortDir();

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;
  // The unix socket with this file.
  net::Endpoint Socket(absl::string_view name) const;

 private:
  std::string path_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SHORT_DIR_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_SHORT_DIR_H_
#define BROOD_TESTING_SUPPORT_SHORT_DIR_H_

#include <string>

#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"

namespace brood::testing {

// ShortDir is a temporary directory of a test whose path is short enough for
// the name of a unix socket.
//
// Such a name has at most 107 bytes, and the path of the directory that Bazel
// provides is often longer. This one is in /tmp. Created and destroyed by the
// test process; other processes may use the path.
//
// Example:
//   const ShortDir dir;
//   const Endpoint endpoint = dir.Socket("echo.sock");
class ShortDir {
 public:
  // Creates the directory. Aborts if that fails.
  ShortDir();
  ShortDir(const ShortDir&) = delete;
  ShortDir& operator=(const ShortDir&) = delete;
  // Removes the directory and the files in it.
  ~ShortDir();

  // Returns the path of the directory.
  const std::string& path() const { return path_; }
  // Returns the path of the file `name` in it.
  std::string File(absl::string_view name) const;
  // Returns the endpoint of the unix socket whose file is `name`.
  net::Endpoint Socket(absl::string_view name) const;

 private:
  std::string path_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SHORT_DIR_H_

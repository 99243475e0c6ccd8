// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_SYSTEM_REFUSED_H_
#define BROOD_SERVER_CHILD_SYSTEM_REFUSED_H_

#include <stdexcept>
#include <string>

#include "absl/status/status.h"

namespace brood::server {

// SystemRefused is thrown by a handler of Brood's own for which the system has
// refused what it needs. HandleConnection() logs what it says, and the child
// ends with ExitCode::kSystemRefused instead of kHandlerFailed. Runs in the
// child.
//
// Example:
//   if (chdir("/") < 0) throw SystemRefused(absl::ErrnoToStatus(errno, "/"));
class SystemRefused : public std::runtime_error {
 public:
  // Says what `status`, an error, says.
  explicit SystemRefused(const absl::Status& status)
      : std::runtime_error(std::string(status.message())) {}
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_SYSTEM_REFUSED_H_

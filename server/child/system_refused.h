// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_SYSTEM_REFUSED_H_
#define BROOD_SERVER_CHILD_SYSTEM_REFUSED_H_

#include <stdexcept>
#include <string>

#include "absl/status/status.h"

namespace brood::server {

// SystemRefused is thrown by a handler of Brood itself when the system refuses
// what the handler needs. HandleConnection() logs its message, and the child
// ends with ExitCode::kSystemRefused instead of kHandlerFailed. Runs in the
// child.
//
// Example:
//   if (chdir("/") < 0) throw SystemRefused(absl::ErrnoToStatus(errno, "/"));
class SystemRefused : public std::runtime_error {
 public:
  // Makes an exception with the message of `status`, which is an error.
  explicit SystemRefused(const absl::Status& status)
      : std::runtime_error(std::string(status.message())) {}
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_SYSTEM_REFUSED_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_STANDARD_ERROR_H_
#define BROOD_SERVER_CHILD_STANDARD_ERROR_H_

#include "absl/status/status.h"
#include "brood/server/log_level.h"

namespace brood::server {

// Makes descriptor 2 of this process the file of `choice`, which may depend on
// whether the process was created ahead of its connection (`is_ahead`). If the
// file cannot be opened again, the descriptor stays shared: for a pipe of
// another user, or in a chroot without /proc.
//
// Runs in a child, before the code of the embedder. Returns the error of open
// for /dev/null.
//
// Example:
//   absl::Status set = SetStandardError(ChildStderr::kNull, false);
absl::Status SetStandardError(ChildStderr choice, bool is_ahead);

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_STANDARD_ERROR_H_

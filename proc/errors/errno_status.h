// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_ERRORS_ERRNO_STATUS_H_
#define BROOD_PROC_ERRORS_ERRNO_STATUS_H_

#include "absl/status/status.h"

namespace brood::proc {

// Returns the description of `error`, an errno; "unknown error" for a number
// that is none. The text is never null and is never freed.
const char* ErrnoText(int error);

// Returns the status of the call `what` that failed with `error`, as
// absl::ErrnoToStatus does, with `detail` after it if that is not null:
// "clone: Cannot allocate memory". If there is no memory for the text, the
// status has the code alone. For calls in the loop of the parent, which must go
// on when memory has run out.
absl::Status ErrnoStatus(int error, const char* what,
                         const char* detail = nullptr) noexcept;

}  // namespace brood::proc

#endif  // BROOD_PROC_ERRORS_ERRNO_STATUS_H_

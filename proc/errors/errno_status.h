// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_ERRORS_ERRNO_STATUS_H_
#define BROOD_PROC_ERRORS_ERRNO_STATUS_H_

#include "absl/status/status.h"

namespace brood::proc {

// Returns the description of `error`, an errno; "unknown error" for any other
// number. The text is never null and must not be freed.
const char* ErrnoText(int error);

// Returns the status of the call `what` that failed with `error`, as
// absl::ErrnoToStatus does, as in "clone: Cannot allocate memory", followed by
// `detail` if that is not null. If there is no memory for the text, the status
// has the code alone. For the loop of the parent, which must continue when
// memory has run out.
absl::Status ErrnoStatus(int error, const char* what,
                         const char* detail = nullptr) noexcept;

}  // namespace brood::proc

#endif  // BROOD_PROC_ERRORS_ERRNO_STATUS_H_

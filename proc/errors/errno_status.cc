// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/errors/errno_status.h"

#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"

namespace brood::proc {

const char* ErrnoText(int error) {
  const char* const text = strerrordesc_np(error);
  return text != nullptr ? text : "unknown error";
}

absl::Status ErrnoStatus(int error, const char* what,
                         const char* detail) noexcept {
  const absl::StatusCode code = absl::ErrnoToStatusCode(error);
  try {
    return absl::Status(
        code, absl::StrCat(what, detail != nullptr ? detail : "", ": ",
                           ErrnoText(error)));
  } catch (const std::bad_alloc&) {
    return absl::Status(code, "");
  }
}

}  // namespace brood::proc

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_ZYGOTE_LOG_H_
#define BROOD_TESTING_SUPPORT_ZYGOTE_LOG_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/testing/test_server.h"

namespace brood::testing {

// Waits until `server` logs that a zygote is ready, and returns its pid.
// Returns each zygote once. Returns DeadlineExceeded after `timeout`.
//
// Example:
//   const absl::StatusOr<pid_t> zygote = AwaitZygote(*server);
//   ASSERT_THAT(zygote, IsOk());
absl::StatusOr<pid_t> AwaitZygote(
    TestServer& server, absl::Duration timeout = TestServer::kTimeout);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_ZYGOTE_LOG_H_

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/errors/errno_status.h"

#include <cerrno>
#include <limits>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

TEST(ErrnoStatusTest, HasATextForEveryNumber) {
  EXPECT_STREQ(ErrnoText(EPERM), "Operation not permitted");
  for (const int unknown : {-1, 41, 58, 4096, std::numeric_limits<int>::max(),
                            std::numeric_limits<int>::min()}) {
    EXPECT_STREQ(ErrnoText(unknown), "unknown error") << unknown;
  }
  for (int error = 0; error < 1000; ++error) {
    EXPECT_NE(ErrnoText(error), nullptr) << error;
  }
}

TEST(ErrnoStatusTest, NamesTheCallAndTheError) {
  EXPECT_EQ(ErrnoStatus(ENOMEM, "clone"), absl::ErrnoToStatus(ENOMEM, "clone"));
  EXPECT_EQ(ErrnoStatus(ESRCH, "kill ", "4711 signal 9"),
            absl::ErrnoToStatus(ESRCH, "kill 4711 signal 9"));
  EXPECT_EQ(ErrnoStatus(4096, "clone"),
            absl::UnknownError("clone: unknown error"));
}

}  // namespace
}  // namespace brood::proc

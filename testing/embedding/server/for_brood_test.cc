// SPDX-License-Identifier: Apache-2.0

#include "server/for_brood.h"

#include "absl/status/status.h"
#include "brood/server/options.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/options.h"

namespace embedder {
namespace {

using brood::testing::IsOk;
using brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ForBrood, ConvertsOptions) {
  Options options;
  options.listen = "[::1]:7000";
  options.max_clients = 7;
  const brood::server::Options for_brood = ForBrood(options);
  EXPECT_THAT(for_brood.listen, ElementsAre("[::1]:7000"));
  EXPECT_EQ(for_brood.max_connections, 7);
  EXPECT_THAT(for_brood.Validate(), IsOk());
}

TEST(ForBrood, KeepsValuesThatBroodRefuses) {
  Options options;
  options.max_clients = 0;
  EXPECT_THAT(ForBrood(options).Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("max_connections=0")));
}

}  // namespace
}  // namespace embedder

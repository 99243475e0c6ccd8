// SPDX-License-Identifier: Apache-2.0

#include "brood/server/text/version.h"

#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::HasSubstr;

TEST(VersionTest, IsTheVersionOfTheModule) {
  std::ifstream module("MODULE.bazel");
  const std::string text{std::istreambuf_iterator<char>(module),
                         std::istreambuf_iterator<char>()};
  EXPECT_THAT(text,
              HasSubstr(absl::StrCat("name = \"brood\",\n    version = \"",
                                     kVersion, "\",\n")));
}

}  // namespace
}  // namespace brood::server

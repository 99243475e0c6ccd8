// SPDX-License-Identifier: Apache-2.0

#include "server/options.h"

#include "gflags/gflags.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

TEST(Options, HaveTheValuesOfTheFlags) {
  const gflags::FlagSaver saver;
  EXPECT_EQ(OptionsFromFlags().listen, Options().listen);
  EXPECT_EQ(OptionsFromFlags().max_clients, Options().max_clients);
  gflags::SetCommandLineOption("listen", "[::1]:7000");
  gflags::SetCommandLineOption("max_clients", "7");
  EXPECT_EQ(OptionsFromFlags().listen, "[::1]:7000");
  EXPECT_EQ(OptionsFromFlags().max_clients, 7);
}

}  // namespace
}  // namespace embedder

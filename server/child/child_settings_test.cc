// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/child_settings.h"

#include <csignal>

#include "brood/proc/spawn.h"
#include "brood/server/options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;

TEST(ChildSettingsTest, ChoosesTheProcessGroup) {
  Options options;
  EXPECT_EQ(SettingsOfChildren(options).group, proc::ProcessGroup::kOwn);
  options.children = ChildGroup::kSession;
  EXPECT_EQ(SettingsOfChildren(options).group, proc::ProcessGroup::kOwnSession);
  options.children = ChildGroup::kInherit;
  EXPECT_EQ(SettingsOfChildren(options).group, proc::ProcessGroup::kInherited);
}

TEST(ChildSettingsTest, IgnoresTheSignalsOfAnUpgrade) {
  const proc::ChildSettings settings = SettingsOfChildren(Options());
  EXPECT_THAT(settings.ignored, ElementsAre(SIGHUP, SIGUSR2));
  EXPECT_THAT(settings.ignored_as_in_parent, ElementsAre(SIGINT, SIGQUIT));
}

}  // namespace
}  // namespace brood::server

#include "brood/server/own_command.h"

#include <unistd.h>

#include <climits>
#include <string>

#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::testing::ElementsAre;

TEST(OwnCommandTest, KeepsAnAbsolutePathAndTheArguments) {
  const char* const argv[] = {"/opt/current/server", "--listen=:7000", "-v"};
  EXPECT_THAT(
      OwnCommand(3, argv),
      IsOkAndHolds(ElementsAre("/opt/current/server", "--listen=:7000", "-v")));
}

TEST(OwnCommandTest, MakesARelativePathAbsolute) {
  char here[PATH_MAX];
  ASSERT_NE(getcwd(here, sizeof(here)), nullptr);
  const char* const argv[] = {"bin/server"};
  EXPECT_THAT(OwnCommand(1, argv),
              IsOkAndHolds(ElementsAre(std::string(here) + "/bin/server")));
}

TEST(OwnCommandTest, TakesTheRunningFileForABareNameOrNone) {
  char self[PATH_MAX] = {};
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof(self)), 0);
  const char* const argv[] = {"server", "--init"};
  EXPECT_THAT(OwnCommand(2, argv), IsOkAndHolds(ElementsAre(self, "--init")));
  EXPECT_THAT(OwnCommand(0, nullptr), IsOkAndHolds(ElementsAre(self)));
}

}  // namespace
}  // namespace brood::server

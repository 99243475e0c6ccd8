// SPDX-License-Identifier: Apache-2.0

#include "brood/server/own_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
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
  unsetenv("PWD");
  char here[PATH_MAX];
  ASSERT_NE(getcwd(here, sizeof(here)), nullptr);
  const char* const argv[] = {"bin/server"};
  EXPECT_THAT(OwnCommand(1, argv),
              IsOkAndHolds(ElementsAre(std::string(here) + "/bin/server")));
}

// Sets a variable of the environment while it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    const char* const before = getenv(name);
    if (before != nullptr) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { setenv(name_, before_.c_str(), 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* const name_;
  std::string before_;
};

// A directory of a release, and a link that makes it the current release.
class OwnCommandInReleaseTest : public ::testing::Test {
 protected:
  OwnCommandInReleaseTest() {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    EXPECT_EQ(mkdir((directory_ + "/v1").c_str(), 0700), 0);
    EXPECT_EQ(symlink("v1", (directory_ + "/current").c_str()), 0);
    EXPECT_EQ(symlink(Self().c_str(), (directory_ + "/v1/server").c_str()), 0);
    EXPECT_NE(getcwd(before_, sizeof(before_)), nullptr);
    EXPECT_EQ(chdir((directory_ + "/current").c_str()), 0);
  }
  ~OwnCommandInReleaseTest() override { EXPECT_EQ(chdir(before_), 0); }

  static std::string Self() {
    char self[PATH_MAX] = {};
    EXPECT_GT(readlink("/proc/self/exe", self, sizeof(self)), 0);
    return self;
  }
  static std::string PathFor(const char* called) {
    const char* const argv[] = {called};
    const auto command = OwnCommand(1, argv);
    EXPECT_THAT(command, ::brood::testing::IsOk());
    return command.ok() ? command->front() : "";
  }

  std::string directory_ = ::testing::TempDir() + "/XXXXXX";
  char before_[PATH_MAX] = {};
};

TEST_F(OwnCommandInReleaseTest, KeepsTheLinkOfTheWorkingDirectory) {
  const Variable pwd("PWD", directory_ + "/current");
  EXPECT_EQ(PathFor("./server"), directory_ + "/current/./server");
  EXPECT_EQ(PathFor("bin/server"), directory_ + "/current/bin/server");
}

TEST_F(OwnCommandInReleaseTest, IgnoresAVariableThatNamesAnotherDirectory) {
  char here[PATH_MAX];
  ASSERT_NE(getcwd(here, sizeof(here)), nullptr);
  for (const std::string& wrong : {directory_, std::string("relative"),
                                   std::string(), directory_ + "/none"}) {
    const Variable pwd("PWD", wrong);
    EXPECT_EQ(PathFor("./server"), std::string(here) + "/./server") << wrong;
  }
}

TEST_F(OwnCommandInReleaseTest, FindsABareNameInThePath) {
  const Variable path("PATH", "/no/such:" + directory_ + "/current");
  EXPECT_EQ(PathFor("server"), directory_ + "/current/server");
  EXPECT_EQ(PathFor("other"), Self()) << "no entry has it";
  const Variable pwd("PWD", directory_ + "/current");
  for (const char* here : {"/no/such::/x", ".", ""}) {
    const Variable with_here("PATH", here);
    EXPECT_EQ(PathFor("server"), directory_ + "/current/./server") << here;
  }
}

TEST_F(OwnCommandInReleaseTest, UsesNoOtherFileWithThatName) {
  ASSERT_EQ(mkdir((directory_ + "/v0").c_str(), 0700), 0);
  ASSERT_EQ(symlink("/bin/true", (directory_ + "/v0/server").c_str()), 0);
  const Variable path("PATH", directory_ + "/v0:" + directory_ + "/current");
  EXPECT_EQ(PathFor("server"), Self());
}

TEST(OwnCommandTest, UsesTheRunningFileForABareNameOrNone) {
  char self[PATH_MAX] = {};
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof(self)), 0);
  const char* const argv[] = {"server", "--init"};
  EXPECT_THAT(OwnCommand(2, argv), IsOkAndHolds(ElementsAre(self, "--init")));
  EXPECT_THAT(OwnCommand(0, nullptr), IsOkAndHolds(ElementsAre(self)));
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/sync_point.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The names with which the hooks were called. A hook is a plain function.
std::vector<std::string>& Calls() {
  static auto* const calls = new std::vector<std::string>;
  return *calls;
}

void Record(const char* name) { Calls().emplace_back(name); }
void RecordAndPassAnother(const char* name) {
  Record(name);
  SyncPoint("inner");
}
void RecordAndReplace(const char* name) {
  Record(name);
  SetSyncPointHook([](const char* /*name*/) { Record("replaced"); });
}

class SyncPointTest : public ::brood::testing::LeakCheck {
 protected:
  SyncPointTest() { Calls().clear(); }
  ~SyncPointTest() override { SetSyncPointHook(nullptr); }

  void SetUp() override {
    if (!kSyncPoints) GTEST_SKIP() << "this build has no points";
  }
};

TEST_F(SyncPointTest, DoesNothingWithoutAHook) {
  SyncPoint("outer");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SyncPointTest, CallsTheHookWithItsNameEachTime) {
  SetSyncPointHook(Record);
  SyncPoint("one");
  SyncPoint("two");
  SyncPoint("one");
  EXPECT_THAT(Calls(), ElementsAre("one", "two", "one"));
}

TEST_F(SyncPointTest, CallsNoHookAfterItWasRemoved) {
  SetSyncPointHook(Record);
  SetSyncPointHook(nullptr);
  SyncPoint("outer");
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(SyncPointTest, CallsNoHookForPointsThatTheHookPasses) {
  SetSyncPointHook(RecordAndPassAnother);
  SyncPoint("outer");
  SyncPoint("outer");
  EXPECT_THAT(Calls(), ElementsAre("outer", "outer"));
}

TEST_F(SyncPointTest, KeepsTheHookThatAHookHasSet) {
  SetSyncPointHook(RecordAndReplace);
  SyncPoint("outer");
  SyncPoint("outer");
  EXPECT_THAT(Calls(), ElementsAre("outer", "replaced"));
}

TEST_F(SyncPointTest, CallsTheHookInAChild) {
  SetSyncPointHook(Record);
  const pid_t child = fork();
  if (child == 0) {
    SyncPoint("in the child");
    _exit(Calls() == std::vector<std::string>{"in the child"} ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
  EXPECT_THAT(Calls(), IsEmpty());
}

// Also in an optimized build, in which the hook is ignored.
TEST(SyncPointBuildTest, CallsTheHookIfTheBuildHasPoints) {
  Calls().clear();
  SetSyncPointHook(Record);
  SyncPoint("outer");
  SetSyncPointHook(nullptr);
  EXPECT_EQ(Calls().size(), kSyncPoints ? 1u : 0u);
}

}  // namespace
}  // namespace brood::proc

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/spawn_table.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "absl/status/status.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

class SpawnTableTest : public ::brood::testing::LeakCheck {
 protected:
  SpawnTableTest() : spawn_table_(*SpawnTable::Create(4)) {}

  void ExpectRecord(uint32_t slot, uint32_t serial, pid_t pid, int error) {
    const SpawnTable::Record record = spawn_table_.Read(slot, serial);
    EXPECT_EQ(record.pid, pid);
    EXPECT_EQ(record.error, error);
  }
  // Returns how a child that reads the table ends.
  int StatusOfChildThatReads() {
    const pid_t child = fork();
    if (child == 0) {
      signal(SIGSEGV, SIG_DFL);  // a sanitizer's would say a lot
      _exit(spawn_table_.Read(0, 1).pid == 4711 ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return status;
  }

  SpawnTable spawn_table_;
};

TEST_F(SpawnTableTest, HasNoRecordAtFirst) {
  for (uint32_t slot = 0; slot < 4; ++slot) ExpectRecord(slot, 1, 0, 0);
}

TEST_F(SpawnTableTest, RecordsWhichProcessWasCreatedForWhichSlot) {
  *spawn_table_.Begin(0, 1) = 4711;
  *spawn_table_.Begin(3, 2) = 4712;
  ExpectRecord(0, 1, 4711, 0);
  ExpectRecord(1, 1, 0, 0);
  ExpectRecord(3, 2, 4712, 0);
}

TEST_F(SpawnTableTest, RecordsWhyNoProcessWasCreated) {
  ASSERT_NE(spawn_table_.Begin(2, 5), nullptr);
  spawn_table_.Fail(2, static_cast<int>(absl::StatusCode::kUnavailable));
  ExpectRecord(2, 5, 0, static_cast<int>(absl::StatusCode::kUnavailable));
}

// A zygote that takes over begins again with the numbers that the last one had.
TEST_F(SpawnTableTest, CanBeginEachNumberUntilItIsDone) {
  pid_t* const created = spawn_table_.Begin(1, 7);
  ASSERT_NE(created, nullptr);
  EXPECT_EQ(spawn_table_.Begin(1, 7), created);
  *created = 4711;
  EXPECT_EQ(spawn_table_.Begin(1, 7), nullptr);
  ASSERT_NE(spawn_table_.Begin(1, 8), nullptr);
  spawn_table_.Fail(1, 14);
  EXPECT_EQ(spawn_table_.Begin(1, 8), nullptr);
  EXPECT_NE(spawn_table_.Begin(1, 9), nullptr);
}

TEST_F(SpawnTableTest, ConfusesNoRecordWithTheNextOne) {
  *spawn_table_.Begin(0, 1) = 4711;
  ExpectRecord(0, 2, 0, 0);
  ASSERT_NE(spawn_table_.Begin(0, 2), nullptr);
  ExpectRecord(0, 1, 0, 0);
  ExpectRecord(0, 2, 0, 0);
  spawn_table_.Fail(0, 14);
  ASSERT_NE(spawn_table_.Begin(0, 3), nullptr);
  ExpectRecord(0, 3, 0, 0);
}

TEST_F(SpawnTableTest, StaysWhereItIsWhenMoved) {
  pid_t* const created = spawn_table_.Begin(0, 1);
  const SpawnTable moved = std::move(spawn_table_);
  *created = 4711;
  EXPECT_EQ(moved.Read(0, 1).pid, 4711);
}

TEST_F(SpawnTableTest, IsNotSharedWithChildrenUnlessAsked) {
  *spawn_table_.Begin(0, 1) = 4711;
  const int unshared = StatusOfChildThatReads();
  EXPECT_FALSE(WIFEXITED(unshared)) << "it was there";
  ASSERT_THAT(spawn_table_.ShareWithChildren(), IsOk());
  const int shared = StatusOfChildThatReads();
  EXPECT_TRUE(WIFEXITED(shared) && WEXITSTATUS(shared) == 0);
  spawn_table_.HideFromChildren();
  EXPECT_FALSE(WIFEXITED(StatusOfChildThatReads()));
}

// The kernel writes the pid before the new process runs. The zygote could only
// write it later, and may be killed meanwhile.
TEST_F(SpawnTableTest, NamesASiblingBeforeThatRuns) {
  ASSERT_THAT(spawn_table_.ShareWithChildren(), IsOk());
  brood::testing::Shared<SpawnTable::Record> seen;
  auto spawner = proc::CloneSpawner::Create(SIGCHLD);
  ASSERT_THAT(spawner, IsOk());
  const pid_t zygote = fork();
  if (zygote == 0) {
    if (!spawner->Prepare().ok()) _exit(1);
    const auto sibling = spawner->SpawnSibling(
        [&] {
          *seen = spawn_table_.Read(2, 9);
          return seen->pid == getpid() ? 7 : 8;
        },
        spawn_table_.Begin(2, 9));
    // The record exists even if the process dies at once.
    raise(SIGKILL);
    _exit(sibling.ok() ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(zygote, &status, 0), zygote);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  const pid_t sibling = spawn_table_.Read(2, 9).pid;
  ASSERT_GT(sibling, 0);
  ASSERT_EQ(waitpid(sibling, &status, __WALL), sibling) << "not our child";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  EXPECT_EQ(seen->pid, sibling);
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/pending_children.h"

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "brood/net/handoff_queue.h"
#include "brood/server/strategy/zygote/spawn_table.h"
#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class PendingChildrenTest : public ::brood::testing::LeakCheck {
 protected:
  // Records that process `pid` was created for `slot`, as the zygote does.
  void Create(Slot slot, uint32_t serial, pid_t pid) {
    *table_.Begin(slot, serial) = pid;
  }

  // Reads the table. Returns the children that have become known.
  std::vector<std::pair<pid_t, Slot>> Read() {
    std::vector<std::pair<pid_t, Slot>> children;
    pending_.Read(table_, [&](pid_t pid, Slot slot) {
      children.emplace_back(pid, slot);
    });
    return children;
  }

  SpawnTable table_ = *SpawnTable::Create(100);
  PendingChildren pending_;
};

TEST_F(PendingChildrenTest, LearnEachChildOnceAndInOrder) {
  pending_.Add(7, 1);
  pending_.Add(8, 2);
  EXPECT_THAT(Read(), IsEmpty());
  Create(7, 1, 101);
  EXPECT_THAT(Read(), ElementsAre(Pair(101, 7)));
  EXPECT_TRUE(pending_.first().is_known());
  pending_.RemoveFirst();
  EXPECT_FALSE(pending_.first().is_known());
  Create(8, 2, 102);
  EXPECT_THAT(Read(), ElementsAre(Pair(102, 8)));
  EXPECT_THAT(Read(), IsEmpty());
}

TEST_F(PendingChildrenTest, GiveUpAConnectionBehindWhichAnotherHasAChild) {
  pending_.Add(7, 1);
  pending_.Add(8, 2);
  pending_.Add(9, 3);
  Create(8, 2, 102);
  EXPECT_THAT(Read(), ElementsAre(Pair(102, 8)));
  EXPECT_TRUE(pending_.first().is_lost);
  pending_.RemoveFirst();
  EXPECT_FALSE(pending_.first().is_lost);
  pending_.RemoveFirst();
  EXPECT_FALSE(pending_.first().is_known()) << "it may still come";
}

// The zygote works on while the table is read: the first record may be written
// after it was looked at, and before the second one is.
TEST_F(PendingChildrenTest, KeepAConnectionWhoseRecordIsWrittenMeanwhile) {
  pending_.Add(7, 1);
  pending_.Add(8, 2);
  Create(8, 2, 102);
  std::vector<pid_t> children;
  pending_.Read(table_, [&](pid_t pid, Slot slot) {
    children.push_back(pid);
    if (slot == 8) Create(7, 1, 101);
  });
  EXPECT_THAT(children, ElementsAre(102, 101));
  EXPECT_FALSE(pending_.first().is_lost);
}

// A child that could not be created also shows how far the zygote is.
TEST_F(PendingChildrenTest, GiveUpAConnectionBehindWhichAnotherHasFailed) {
  pending_.Add(7, 1);
  pending_.Add(8, 2);
  table_.Begin(8, 2);
  table_.Fail(8, EAGAIN);
  Read();
  EXPECT_TRUE(pending_.first().is_lost);
}

// A connection that this process gave up does not show how far the zygote is.
TEST_F(PendingChildrenTest, KeepAConnectionBehindWhichAnotherWasLost) {
  pending_.Add(7, 1);
  pending_.Add(8, 2);
  EXPECT_TRUE(pending_.MarkRequeued({7, 1}));
  pending_.LoseOthers();
  Read();
  EXPECT_FALSE(pending_.first().is_known());
  Create(7, 1, 101);
  EXPECT_THAT(Read(), ElementsAre(Pair(101, 7)));
  pending_.RemoveFirst();
  EXPECT_TRUE(pending_.first().is_lost);
}

// The zygote that has got the moved messages may end as well.
TEST_F(PendingChildrenTest, GiveUpAConnectionThatWasMovedOnceAndNotAgain) {
  pending_.Add(7, 1);
  EXPECT_TRUE(pending_.MarkRequeued({7, 1}));
  pending_.LoseOthers();
  EXPECT_FALSE(pending_.first().is_lost);
  pending_.LoseOthers();
  EXPECT_TRUE(pending_.first().is_lost);
}

TEST_F(PendingChildrenTest, KnowNoTicketButTheirOwn) {
  pending_.Add(7, 1);
  EXPECT_FALSE(pending_.MarkRequeued({7, 2}));
  EXPECT_FALSE(pending_.MarkRequeued({8, 1}));
  EXPECT_FALSE(pending_.MarkRequeued({~0U, ~0U}));
  Create(7, 1, 101);
  Read();
  EXPECT_FALSE(pending_.MarkRequeued({7, 1})) << "it has its process";
}

TEST_F(PendingChildrenTest, GoRoundInTheirArray) {
  for (uint32_t serial = 1; serial < 5 * PendingChildren::kMost; ++serial) {
    pending_.Add(serial % 50, serial);
    while (!pending_.full() && serial % 7 == 0) pending_.Add(99, serial);
    Create(serial % 50, serial, static_cast<pid_t>(serial));
    Read();
    while (!pending_.empty()) pending_.RemoveFirst();
  }
  EXPECT_EQ(pending_.size(), 0u);
}

// A slot may be any number, if it comes from a message.
TEST_F(PendingChildrenTest, ReadNothingWhereTheTableEnds) {
  EXPECT_EQ(table_.Begin(100, 1), nullptr);
  EXPECT_EQ(table_.Begin(~0U, 1), nullptr);
  EXPECT_EQ(table_.Read(100, 1).pid, 0);
  EXPECT_EQ(table_.Read(~0U, 1).pid, 0);
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/child_table.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

// The pids here belong to no process: no test signals them or waits for them.
class ChildTableTest : public ::testing::Test {
 protected:
  using Contents = std::map<pid_t, uint32_t>;

  ~ChildTableTest() override {
    while (!expected_.empty()) Remove(expected_.begin()->first);
  }
  void Insert(pid_t pid, uint32_t tag) {
    table_.Insert(Child::Adopt(pid), tag);
    expected_[pid] = tag;
  }
  void Remove(pid_t pid) {
    expected_.erase(pid);
    ChildTable::Entry* entry = table_.Find(pid);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(std::move(entry->child).Release(), pid);
    table_.Remove(entry);
  }
  Contents ContentsByCell() {
    Contents contents;
    for (size_t cell = table_.NextUsed(0); cell < table_.cell_count();
         cell = table_.NextUsed(cell + 1)) {
      const ChildTable::Entry* entry = table_.At(cell);
      EXPECT_NE(entry->child.pid(), 0) << "cell " << cell << " is free";
      contents[entry->child.pid()] = entry->tag;
    }
    return contents;
  }
  void ExpectAllFound() {
    EXPECT_EQ(table_.size(), expected_.size());
    for (const auto& [pid, tag] : expected_) {
      const ChildTable::Entry* entry = table_.Find(pid);
      ASSERT_NE(entry, nullptr) << pid;
      ASSERT_EQ(entry->child.pid(), pid);
      ASSERT_EQ(entry->tag, tag);
    }
  }

  ChildTable table_{4};
  Contents expected_;
};

TEST_F(ChildTableTest, FindsNothingInAnEmptyTable) {
  EXPECT_EQ(table_.size(), 0u);
  EXPECT_EQ(table_.Find(1), nullptr);
}

TEST_F(ChildTableTest, FindsNothingForInvalidPids) {
  Insert(16, 1);
  EXPECT_EQ(table_.Find(0), nullptr);
  EXPECT_EQ(table_.Find(-16), nullptr);
}

TEST_F(ChildTableTest, FindsChildrenWhosePidsCollide) {
  const auto cells = static_cast<pid_t>(table_.cell_count());
  for (pid_t i = 1; i <= 5; ++i)
    Insert(i * cells + 3, static_cast<uint32_t>(i));
  ExpectAllFound();
  EXPECT_EQ(table_.Find(6 * cells + 3), nullptr);
}

TEST_F(ChildTableTest, FindsRestOfARunAfterARemoval) {
  const auto cells = static_cast<pid_t>(table_.cell_count());
  // The home of these pids is the last cell, so that the run continues at the
  // first.
  const std::vector<pid_t> run = {cells - 1, 2 * cells - 1, cells, cells + 1,
                                  3 * cells - 1};
  for (pid_t removed : run) {
    for (pid_t pid : run) Insert(pid, static_cast<uint32_t>(pid));
    Remove(removed);
    ExpectAllFound();
    EXPECT_EQ(table_.Find(removed), nullptr);
    while (!expected_.empty()) Remove(expected_.begin()->first);
  }
}

TEST_F(ChildTableTest, GrowsBeyondTheExpectedSize) {
  const size_t cells = table_.cell_count();
  for (pid_t pid = 1; pid <= 1000; ++pid) Insert(7 * pid, 1);
  EXPECT_GT(table_.cell_count(), cells);
  ExpectAllFound();
  EXPECT_EQ(ContentsByCell(), expected_);
}

// If there is no memory to grow, there is still room for others.
TEST_F(ChildTableTest, IsCrowdedOnlyIfItCannotGrow) {
  for (pid_t pid = 1; pid <= 1000; ++pid) {
    Insert(pid, 1);
    ASSERT_FALSE(table_.IsCrowded()) << pid;
  }
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  GTEST_SKIP() << "the sanitizer ends the program if there is no memory";
#endif
  const pid_t child = fork();
  if (child == 0) {
    ChildTable table(4);
    const rlimit none = {0, 0};
    if (setrlimit(RLIMIT_AS, &none) < 0) _exit(1);
    const size_t cells = table.cell_count();
    while (!table.IsCrowded() && table.size() < cells) {
      table.Insert(Child::Adopt(static_cast<pid_t>(table.size() + 1)), 0);
    }
    _exit(table.cell_count() == cells && table.size() == cells / 4 * 3 ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(ChildTableTest, KeepsAsManyAsExpectedWithoutGrowing) {
  for (size_t expected : {0, 1, 7, 8, 9, 1000}) {
    ChildTable table(expected);
    const size_t cells = table.cell_count();
    for (size_t i = 1; i <= expected; ++i) {
      table.Insert(Child::Adopt(static_cast<pid_t>(i)), 0);
    }
    EXPECT_EQ(table.cell_count(), cells);
    for (size_t cell = table.NextUsed(0); cell < cells;
         cell = table.NextUsed(cell + 1)) {
      std::move(table.At(cell)->child).Release();
    }
  }
}

TEST_F(ChildTableTest, MatchesAMapAfterRandomInsertionsAndRemovals) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 20000; ++i) {
      // Few homes with many pids each: long runs, which join and separate.
      const auto pid =
          static_cast<pid_t>(1 + random() % 40 + 1024 * (random() % 10));
      // Phases of mostly insertions alternate with phases of mostly removals.
      const bool inserts = random() % 10 < ((i / 500) % 2 == 0 ? 7u : 3u);
      if (inserts && expected_.count(pid) == 0) {
        Insert(pid, static_cast<uint32_t>(random()));
      } else if (!inserts && !expected_.empty()) {
        auto dead = expected_.lower_bound(pid);
        Remove(dead == expected_.end() ? expected_.begin()->first
                                       : dead->first);
      }
      EXPECT_EQ(table_.Find(pid) != nullptr, expected_.count(pid) == 1);
      if (i % 100 == 0) {
        ExpectAllFound();
        ASSERT_EQ(ContentsByCell(), expected_);
      }
      if (HasFailure()) FAIL() << "seed " << seed << ", step " << i;
    }
  }
}

}  // namespace
}  // namespace brood::proc

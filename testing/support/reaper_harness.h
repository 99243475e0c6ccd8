// SPDX-License-Identifier: Apache-2.0

// ReaperHarness: a reaper, its spawner and their children, for tests of
// reaping.
//
// Lives in the test process, which becomes the parent. Every end is counted:
// one that is delivered twice, or is a stranger's, fails the test. Children
// that are left when it is destroyed are killed and reaped.
//
// Example:
//   ReaperHarness harness(proc::Reaper::Ownership::kOursAlone);
//   harness.SpawnZombie([] { return 7; });
//   EXPECT_THAT(harness.CleanupByQueue(), SizeIs(1));

#ifndef BROOD_TESTING_SUPPORT_REAPER_HARNESS_H_
#define BROOD_TESTING_SUPPORT_REAPER_HARNESS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"

namespace brood::testing {

class ReaperHarness {
 public:
  explicit ReaperHarness(proc::Reaper::Ownership ownership);
  ReaperHarness(const ReaperHarness&) = delete;
  ReaperHarness& operator=(const ReaperHarness&) = delete;
  ~ReaperHarness();

  pid_t Spawn(const std::function<int()>& body, uint32_t tag = 0);
  // One that lives until it is killed.
  pid_t SpawnIdle(uint32_t tag = 0);
  // One that has ended by the time this returns.
  pid_t SpawnZombie(const std::function<int()>& body, uint32_t tag = 0);
  // Returns when `pid` has ended; it stays to be reaped.
  static void AwaitZombie(pid_t pid);

  // One CleanupChildren() at the time `now`: what it delivered.
  std::vector<proc::Reaper::Ended> Cleanup(proc::Reaper::Instant now);
  // At a time when only the queue of notices can make it deliver anything.
  std::vector<proc::Reaper::Ended> CleanupByQueue();
  // When the sweep is due.
  std::vector<proc::Reaper::Ended> CleanupBySweep();
  // As a loop does it that waits for nothing but the reaper, for 10 s at most.
  std::vector<proc::Reaper::Ended> AwaitEnded(size_t count);

  bool HasNotice() const;
  proc::Reaper& reaper() { return *reaper_; }

 private:
  std::unique_ptr<proc::Reaper> reaper_;
  proc::CloneSpawner spawner_;
  std::set<pid_t> pids_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_REAPER_HARNESS_H_

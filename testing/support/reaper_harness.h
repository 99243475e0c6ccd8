// SPDX-License-Identifier: Apache-2.0

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

// ReaperHarness is a reaper with a spawner and their children, for tests of
// reaping.
//
// Lives in the test process, which is the parent. Checks every end: an end that
// is returned twice, or of a process that is not its child, fails the test. The
// destructor kills and reaps the children that are left.
//
// Example:
//   ReaperHarness harness(proc::Reaper::Ownership::kOursAlone);
//   harness.SpawnZombie([] { return 7; });
//   EXPECT_THAT(harness.CleanupByQueue(), SizeIs(1));
class ReaperHarness {
 public:
  // Creates a reaper with this `ownership`.
  explicit ReaperHarness(proc::Reaper::Ownership ownership);
  ReaperHarness(const ReaperHarness&) = delete;
  ReaperHarness& operator=(const ReaperHarness&) = delete;
  // Kills and reaps the children that are left.
  ~ReaperHarness();

  // Returns the pid of a new child that runs `body`; the reaper owns the child,
  // with the tag `tag`.
  pid_t Spawn(const std::function<int()>& body, uint32_t tag = 0);
  // Returns the pid of a new child that lives until it is killed.
  pid_t SpawnIdle(uint32_t tag = 0);
  // Returns the pid of a new child that has run `body` and ended.
  pid_t SpawnZombie(const std::function<int()>& body, uint32_t tag = 0);
  // Waits until `pid` has ended, without reaping it.
  static void AwaitZombie(pid_t pid);

  // Calls CleanupChildren() once with the time `now`. Returns the ends.
  std::vector<proc::Reaper::Ended> Cleanup(proc::Reaper::Instant now);
  // Does so with a time at which no sweep is due: the ends have notices.
  std::vector<proc::Reaper::Ended> CleanupByQueue();
  // Does so with a time at which the sweep is due.
  std::vector<proc::Reaper::Ended> CleanupBySweep();
  // Waits for the reaper in a loop until `count` children have ended, for at
  // most 10 s. Returns the ends.
  std::vector<proc::Reaper::Ended> AwaitEnded(size_t count);

  // Reports whether the descriptor of the reaper is readable.
  bool HasNotice() const;
  // Lends the reaper.
  proc::Reaper& reaper() { return *reaper_; }

 private:
  std::unique_ptr<proc::Reaper> reaper_;
  proc::CloneSpawner spawner_;
  std::set<pid_t> pids_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_REAPER_HARNESS_H_

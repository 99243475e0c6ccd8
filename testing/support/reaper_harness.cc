// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/reaper_harness.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <utility>

#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using proc::Reaper;
using Clock = std::chrono::steady_clock;

constexpr size_t kExpectedChildren = 16;

}  // namespace

ReaperHarness::ReaperHarness(Reaper::Ownership ownership)
    : reaper_(*Reaper::Create(ownership, kExpectedChildren)),
      spawner_(*proc::CloneSpawner::Create(reaper_->exit_signal())) {
  EXPECT_THAT(spawner_.Prepare(), IsOk());
  Cleanup(Clock::now());  // the first sweep is due at once
}

ReaperHarness::~ReaperHarness() {
  for (pid_t pid : pids_) reaper_->Signal(pid, SIGKILL).IgnoreError();
  if (!pids_.empty()) AwaitEnded(pids_.size());
}

pid_t ReaperHarness::Spawn(const std::function<int()>& body, uint32_t tag) {
  absl::StatusOr<proc::Child> child = spawner_.Spawn(body);
  EXPECT_THAT(child, IsOk());
  const pid_t pid = child->pid();
  reaper_->Adopt(*std::move(child), tag);
  pids_.insert(pid);
  return pid;
}

pid_t ReaperHarness::SpawnIdle(uint32_t tag) {
  return Spawn(
      []() -> int {
        for (;;) pause();
      },
      tag);
}

pid_t ReaperHarness::SpawnZombie(const std::function<int()>& body,
                                 uint32_t tag) {
  const pid_t pid = Spawn(body, tag);
  AwaitZombie(pid);
  return pid;
}

void ReaperHarness::AwaitZombie(pid_t pid) {
  siginfo_t ignored;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(pid), &ignored,
                                      WEXITED | WNOWAIT | __WALL)),
            0);
}

std::vector<Reaper::Ended> ReaperHarness::Cleanup(Reaper::Instant now) {
  const absl::Span<const Reaper::Ended> ended = reaper_->CleanupChildren(now);
  for (const Reaper::Ended& each : ended) {
    EXPECT_EQ(pids_.erase(each.pid), 1u) << "returned twice, or not a child";
  }
  return {ended.begin(), ended.end()};
}

std::vector<Reaper::Ended> ReaperHarness::CleanupByQueue() {
  return Cleanup(reaper_->next_check() - std::chrono::milliseconds(1));
}

std::vector<Reaper::Ended> ReaperHarness::CleanupBySweep() {
  return Cleanup(reaper_->next_check());
}

std::vector<Reaper::Ended> ReaperHarness::AwaitEnded(size_t count) {
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(10);
  std::vector<Reaper::Ended> all;
  while (all.size() < count && Clock::now() < deadline) {
    const auto left = std::min(reaper_->next_check(), deadline) - Clock::now();
    const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left);
    pollfd notices = {reaper_->fd(), POLLIN, 0};
    poll(&notices, 1, static_cast<int>(std::max<int64_t>(0, left_ms.count())));
    for (const Reaper::Ended& ended : Cleanup(Clock::now())) {
      all.push_back(ended);
    }
  }
  EXPECT_EQ(all.size(), count);
  return all;
}

bool ReaperHarness::HasNotice() const {
  pollfd notices = {reaper_->fd(), POLLIN, 0};
  return poll(&notices, 1, 0) == 1;
}

}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAKES_FAKE_SPAWNER_H_
#define BROOD_TESTING_FAKES_FAKE_SPAWNER_H_

#include <sys/types.h>

#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/spawn.h"

namespace brood::testing {

// FakeSpawner is a Spawner of simulated processes with the pids 101, 102, ...
//
// For unit tests, with a FakeReaper: no body runs. A test decides whether the
// next Spawn() or Prepare() fails.
//
// Example:
//   FakeSpawner spawner;
//   spawner.FailWith(absl::ResourceExhaustedError("clone"));
//   EXPECT_FALSE(spawner.Spawn([] { return 0; }).ok());
class FakeSpawner final : public proc::Spawner {
 public:
  // The pid of the first process.
  static constexpr pid_t kFirstPid = 101;

  // Makes Spawn() fail with `status` from now on; an OK status ends that.
  void FailWith(absl::Status status) { spawn_status_ = std::move(status); }
  // Makes Prepare() return `status` from now on.
  void PrepareWith(absl::Status status) { prepare_status_ = std::move(status); }
  // Makes fallback() return `fallback` from now on.
  void FallBackTo(proc::SpawnFallback fallback) {
    fallback_ = std::move(fallback);
  }
  // Sets the pid of the next process to `pid`; later ones have the pids after
  // it.
  void set_next_pid(pid_t pid) { next_pid_ = pid; }
  // Sets the time at which processes are created from now on.
  void set_now(net::Instant now) { now_ = now; }

  // Returns the pid of the process that was created last; 0 if there is none.
  pid_t last_pid() const { return count_ == 0 ? 0 : next_pid_ - 1; }
  // Returns, for each process that was created, the highest private descriptor
  // that it keeps; -1 if it keeps none.
  const std::vector<int>& kept_fds() const { return kept_fds_; }
  // Returns how many processes were created.
  int count() const { return count_; }

  absl::Status Prepare() override { return prepare_status_; }
  absl::StatusOr<proc::SpawnedChild> Spawn(
      absl::FunctionRef<int()> /*body*/,
      absl::Span<const int> kept_fds = {}) const override {
    if (!spawn_status_.ok()) return spawn_status_;
    ++count_;
    kept_fds_.push_back(kept_fds.empty() ? -1 : kept_fds.back());
    return proc::SpawnedChild(proc::Child::Adopt(next_pid_++), now_);
  }
  absl::StatusOr<pid_t> SpawnSibling(
      absl::FunctionRef<int()> /*body*/, pid_t* spawned,
      absl::Span<const int> /*kept_fds*/ = {}) const override {
    if (!spawn_status_.ok()) return spawn_status_;
    ++count_;
    *spawned = next_pid_++;
    return *spawned;
  }
  proc::SpawnFallback fallback() const override { return fallback_; }

 private:
  absl::Status spawn_status_;
  absl::Status prepare_status_;
  proc::SpawnFallback fallback_;
  net::Instant now_;
  mutable pid_t next_pid_ = kFirstPid;
  mutable int count_ = 0;
  mutable std::vector<int> kept_fds_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAKES_FAKE_SPAWNER_H_

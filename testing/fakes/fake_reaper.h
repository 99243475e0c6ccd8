// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAKES_FAKE_REAPER_H_
#define BROOD_TESTING_FAKES_FAKE_REAPER_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/event_fd.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/reaper.h"

namespace brood::testing {

// FakeReaper is a Reaper of simulated children: a test decides which children
// end, and reads which signals were sent.
//
// For unit tests, in one process, without a fork. The children of a
// FakeSpawner, and any other pid, can be adopted. The next CleanupChildren()
// returns the ends, in the order of the calls of End().
//
// Example:
//   FakeReaper reaper;
//   ... adopt pid 4711 ...
//   reaper.End(4711, FakeReaper::Exited(0));
//   for (const auto& ended : reaper.CleanupChildren(now)) ...
//   EXPECT_THAT(reaper.signals_to(4711), ElementsAre(SIGTERM));
class FakeReaper final : public proc::Reaper {
 public:
  // Owns no child.
  FakeReaper();
  // Forgets the simulated children that are left.
  ~FakeReaper() override;

  // Returns the status of a child that called _exit(code).
  static proc::ExitStatus Exited(int code) {
    return proc::ExitStatus::Exited(code, rusage());
  }
  // Returns the status of a child that was killed by `signal`.
  static proc::ExitStatus Killed(int signal) {
    return proc::ExitStatus::FromWait(signal, rusage());
  }

  // Ends the child `pid`, which must be adopted before the next
  // CleanupChildren().
  void End(pid_t pid, const proc::ExitStatus& status);
  // Returns the tag of the live child `pid`; nothing if there is none.
  absl::optional<uint32_t> tag_of(pid_t pid) const;
  // Returns the pids of the live children, in ascending order.
  std::vector<pid_t> pids() const;
  // Returns how often ForgetUnclaimed() was called.
  int forget_count() const { return forget_count_; }
  // Makes ProcessorTime() return `used` for the live child `pid` from now on.
  void set_processor_time(pid_t pid, absl::Duration used) {
    processor_times_[pid] = used;
  }
  // Makes every signal for the live child `pid` fail with `why`.
  void Refuse(pid_t pid, const absl::Status& why) { refusals_[pid] = why; }
  // Makes the live child `pid` sleep uninterruptibly.
  void Suspend(pid_t pid) { suspended_.insert(pid); }
  // Reports whether the last call of LookForHeld() was with true.
  bool looks_for_held() const { return looks_for_held_; }
  // Returns the signals that were sent to `pid`.
  std::vector<int> signals_to(pid_t pid) const;

  int exit_signal() const override { return SIGRTMAX; }
  int fd() const override { return notices_.fd(); }
  Instant next_check() const override;
  void Adopt(proc::Child child, uint32_t tag) override;
  void Retag(pid_t pid, uint32_t tag) override;
  absl::optional<proc::ExitStatus> Disown(pid_t pid) override;
  absl::Span<const Ended> CleanupChildren(Instant now) override;
  void ForgetUnclaimed() override { ++forget_count_; }
  absl::Status Signal(pid_t pid, int signal) override;
  absl::StatusOr<absl::Duration> ProcessorTime(pid_t pid) override;
  Refused SignalAll(int signal, uint32_t spared) override;
  void LookForHeld(bool everywhere) override { looks_for_held_ = everywhere; }
  bool HasOnlyUnkillable() override;
  size_t GiveUp(absl::Span<pid_t> pids) override;
  size_t live() const override { return tags_.size(); }
  uint64_t found_by_sweep() const override { return 0; }

 private:
  net::EventFd notices_;
  std::map<pid_t, uint32_t> tags_;
  std::map<pid_t, std::vector<int>> signals_;
  std::map<pid_t, absl::Duration> processor_times_;
  std::vector<std::pair<pid_t, proc::ExitStatus>> ends_;
  std::map<pid_t, absl::Status> refusals_;
  std::set<pid_t> suspended_;
  std::vector<Ended> returned_;
  bool looks_for_held_ = false;
  int forget_count_ = 0;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAKES_FAKE_REAPER_H_

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/fakes/fake_reaper.h"

#include <algorithm>

#include "brood/proc/child.h"
#include "gtest/gtest.h"

namespace brood::testing {

FakeReaper::FakeReaper() : notices_(*net::EventFd::Create()) {}

FakeReaper::~FakeReaper() = default;

void FakeReaper::End(pid_t pid, const proc::ExitStatus& status) {
  ends_.emplace_back(pid, status);
  notices_.Notify();
}

absl::optional<uint32_t> FakeReaper::tag_of(pid_t pid) const {
  const auto found = tags_.find(pid);
  if (found == tags_.end()) return absl::nullopt;
  return found->second;
}

std::vector<pid_t> FakeReaper::pids() const {
  std::vector<pid_t> pids;
  for (const auto& each : tags_) pids.push_back(each.first);
  return pids;
}

std::vector<int> FakeReaper::signals_to(pid_t pid) const {
  const auto found = signals_.find(pid);
  return found == signals_.end() ? std::vector<int>() : found->second;
}

proc::Reaper::Instant FakeReaper::next_check() const { return Instant::max(); }

void FakeReaper::Adopt(proc::Child child, uint32_t tag) {
  const pid_t pid = std::move(child).Release();
  EXPECT_TRUE(tags_.emplace(pid, tag).second) << pid << " was adopted twice";
}

void FakeReaper::Retag(pid_t pid, uint32_t tag) {
  const auto found = tags_.find(pid);
  if (found != tags_.end()) found->second = tag;
}

absl::optional<proc::ExitStatus> FakeReaper::Disown(pid_t pid) {
  const auto end = std::find_if(ends_.begin(), ends_.end(),
                                [&](const auto& e) { return e.first == pid; });
  absl::optional<proc::ExitStatus> status;
  if (end != ends_.end()) {
    status = end->second;
    ends_.erase(end);
  }
  tags_.erase(pid);
  return status;
}

absl::Span<const proc::Reaper::Ended> FakeReaper::CleanupChildren(
    Instant /*now*/) {
  notices_.Take();
  returned_.clear();
  for (const auto& end : ends_) {
    const auto found = tags_.find(end.first);
    if (found == tags_.end()) {
      ADD_FAILURE() << end.first << " ended and was not adopted";
      continue;
    }
    returned_.push_back({end.first, found->second, end.second});
    tags_.erase(found);
  }
  ends_.clear();
  return returned_;
}

absl::Status FakeReaper::Signal(pid_t pid, int signal) {
  if (tags_.count(pid) == 0) return absl::NotFoundError("not a child");
  if (refusals_.count(pid) > 0) return refusals_[pid];
  signals_[pid].push_back(signal);
  return absl::OkStatus();
}

absl::StatusOr<absl::Duration> FakeReaper::ProcessorTime(pid_t pid) {
  const auto found = processor_times_.find(pid);
  if (tags_.count(pid) == 0 || found == processor_times_.end()) {
    return absl::NotFoundError("not a child, or no time was set");
  }
  return found->second;
}

proc::Reaper::Refused FakeReaper::SignalAll(int signal, uint32_t spared) {
  Refused refused;
  for (const auto& [pid, tag] : tags_) {
    if (tag == spared) continue;
    const absl::Status sent = Signal(pid, signal);
    if (!sent.ok() && refused.count++ == 0) {
      refused.pid = pid;
      refused.why = sent;
    }
  }
  return refused;
}

bool FakeReaper::HasOnlyUnkillable() {
  for (const auto& [pid, tag] : tags_) {
    if (refusals_.count(pid) == 0 && suspended_.count(pid) == 0) return false;
  }
  return !tags_.empty();
}

size_t FakeReaper::GiveUp(absl::Span<pid_t> pids) {
  size_t count = 0;
  for (const auto& [pid, tag] : tags_) {
    if (count < pids.size()) pids[count] = pid;
    ++count;
    End(pid, proc::ExitStatus::GivenUp());
  }
  return count;
}

}  // namespace brood::testing

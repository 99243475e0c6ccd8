// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_OUTPUT_LOG_BUDGET_H_
#define BROOD_SERVER_LOG_OUTPUT_LOG_BUDGET_H_

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"

namespace brood::server {

// LogBudget limits how many lines are written in a second, so that a flood of
// clients does not fill a disk.
//
// It is a bucket with a token for each line, and holds the tokens of kBurst
// seconds. Lines without a token are left out and counted; the count is due
// once a second.
//
// Pure: the time is an argument. Lives in the parent, in memory that children
// do not get: it is written for each connection.
//
// Example:
//   if (!budget->Take(/*lines=*/1, now)) return;  // counted
//   if (auto count = budget->TakeCount(now)) Report(*count);
class LogBudget : public proc::ParentOnly {
 public:
  // The length of a burst, in seconds of the rate.
  static constexpr int kBurst = 5;

  // Allows `per_second` lines; zero allows all.
  explicit LogBudget(int per_second)
      : per_second_(per_second), tokens_(double{kBurst} * per_second) {}

  // Takes tokens for `lines` lines at `now`. Returns false, and counts the
  // lines, if there is no token.
  bool Take(int lines, net::Instant now) {
    if (per_second_ == 0) return true;
    Fill(now);
    if (tokens_ < 1) {
      left_out_ += static_cast<uint64_t>(lines);
      return false;
    }
    tokens_ -= lines;
    return true;
  }

  // Returns whether there is no token for another line.
  bool IsSpent() const { return per_second_ != 0 && tokens_ < 1; }

  // Returns how many lines were left out since the last call that returned a
  // number; nothing if there were none, or if that call was less than a second
  // ago.
  absl::optional<uint64_t> TakeCount(net::Instant now) {
    if (left_out_ == 0 || now < due_at_) return absl::nullopt;
    due_at_ = net::After(now, absl::Seconds(1));
    return TakeCount();
  }
  // Returns the same number at the end of the log, however long ago the last
  // call was.
  uint64_t TakeCount() { return std::exchange(left_out_, 0); }

 private:
  // Adds the tokens of the time that has passed.
  void Fill(net::Instant now) {
    const absl::Duration passed = net::TimeUntil(now, filled_at_);
    filled_at_ = now;
    tokens_ = std::min(double{kBurst} * per_second_,
                       tokens_ + absl::ToDoubleSeconds(passed) * per_second_);
  }

  const int per_second_;
  double tokens_;
  net::Instant filled_at_ = net::Instant::min();
  uint64_t left_out_ = 0;
  net::Instant due_at_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_OUTPUT_LOG_BUDGET_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAKES_FAKE_STRATEGY_H_
#define BROOD_TESTING_FAKES_FAKE_STRATEGY_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/server/vocabulary/slot.h"
#include "gtest/gtest.h"

namespace brood::testing {

// FakeStrategy is a Strategy whose actions a test defines, and which checks
// that it is never called while one of its calls is still running.
//
// For unit tests of the supervisor and of Connections. Records each call, and
// calls the function below that belongs to it, if it is set.
//
// Example:
//   auto strategy = std::make_unique<FakeStrategy>();
//   strategy->on_dispatch = [&](Slot slot, net::Connection, Instant now,
//                               Events& events) {
//     reaper.Adopt(proc::Child::Adopt(7), ChildTag::Connection(slot).Pack());
//     events.Serving(slot, 7, now);
//   };
class FakeStrategy final : public server::Strategy {
 public:
  using Slot = server::Slot;

  // Runs in Dispatch().
  std::function<void(Slot, net::Connection, net::Instant, Events&)> on_dispatch;
  // Runs in ChildEnded(), which otherwise reports the end of the slot.
  std::function<void(server::ChildTag, const proc::Reaper::Ended&, net::Instant,
                     Events&)>
      on_child_ended;
  // Runs in AdoptSpawned().
  std::function<void()> on_adopt_spawned;
  // Runs in Attend().
  std::function<void(net::Instant, Events&)> on_attend;
  // Runs in Maintain().
  std::function<void(net::Instant, Events&)> on_maintain;
  // The result of Prepare().
  absl::Status prepare_status;
  // The result of RehearseAtStart().
  absl::StatusOr<server::Rehearsal> rehearsal_at_start = server::Rehearsal();
  // The result of RehearseToServe().
  absl::StatusOr<server::Rehearsal> rehearsal_to_serve = server::Rehearsal();
  // The result of HasRoom().
  bool has_room = true;
  // The argument `is_idle` of the last Maintain().
  bool idle = false;
  // The result of fd().
  int descriptor = -1;
  // The result of alarm().
  net::Instant next_alarm = net::Never();

  // Returns the calls since the last Take(), except Maintain, AdoptSpawned and
  // Attend, which each turn makes.
  std::vector<std::string> Take() { return std::exchange(calls_, {}); }
  // Reports whether a call of this object is running.
  bool busy() const { return depth_ > 0; }

  absl::StatusOr<server::Rehearsal> RehearseAtStart() override {
    return rehearsal_at_start;
  }
  absl::StatusOr<server::Rehearsal> RehearseToServe() override {
    return rehearsal_to_serve;
  }
  absl::Status Prepare() override { return prepare_status; }
  bool HasRoom() const override { return has_room; }
  void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                Events& events) override {
    const Call call(this, absl::StrCat("dispatch ", slot));
    if (on_dispatch) on_dispatch(slot, std::move(connection), now, events);
  }
  void AdoptSpawned() override {
    const Call call(this, "");
    if (on_adopt_spawned) on_adopt_spawned();
  }
  void ChildEnded(server::ChildTag tag, const proc::Reaper::Ended& ended,
                  net::Instant now, Events& events) override {
    const Call call(this, absl::StrCat("ended ", ended.pid));
    if (on_child_ended) {
      on_child_ended(tag, ended, now, events);
    } else {
      events.Ended(tag.index, ended.pid, ended.status, now);
    }
  }
  int fd(net::Instant /*now*/) const override { return descriptor; }
  net::Instant alarm(net::Instant /*now*/) const override { return next_alarm; }
  void Attend(net::Instant now, Events& events) override {
    const Call call(this, "");
    if (on_attend) on_attend(now, events);
  }
  void Maintain(net::Instant now, bool is_idle, Events& events) override {
    const Call call(this, "");
    idle = is_idle;
    if (on_maintain) on_maintain(now, events);
  }
  void Close() override { const Call call(this, "close"); }

 private:
  // Call lives during one call of the strategy.
  class Call {
   public:
    // Records a call of `strategy`, unless `name` is empty. Fails the test if
    // another call has not returned yet.
    Call(FakeStrategy* strategy, const std::string& name)
        : strategy_(strategy) {
      EXPECT_EQ(strategy_->depth_++, 0)
          << "the strategy is called during another call: " << name;
      if (!name.empty()) strategy_->calls_.push_back(name);
    }
    ~Call() { --strategy_->depth_; }

   private:
    FakeStrategy* const strategy_;
  };

  std::vector<std::string> calls_;
  int depth_ = 0;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAKES_FAKE_STRATEGY_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAKES_STRATEGY_FIXTURE_H_
#define BROOD_TESTING_FAKES_STRATEGY_FIXTURE_H_

#include <sys/types.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/reaper.h"
#include "brood/server/child/child_program.h"
#include "brood/server/handler.h"
#include "brood/server/log/event_log.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_spawner.h"
#include "brood/testing/fakes/recorded_events.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::testing {

// StrategyFixture is the environment of a strategy in its unit test: a spawner,
// a reaper and a receiver of its events, all of them fakes, and a clock that
// only the test moves.
//
// For unit tests, in one process. The strategy under test is a member of a
// derived fixture, so that it is destroyed first.
//
// Example:
//   class SparesTest : public StrategyFixture {
//    protected:
//     Spares spares_{1, 4, std::make_unique<FakeStrategy>(), environment()};
//   };
class StrategyFixture : public LeakCheck {
 protected:
  // Returns the environment for the constructor of a strategy.
  server::StrategyEnvironment environment() {
    return {&spawner_, &reaper_, &program_, &log_};
  }

  // Returns a connection whose client has closed its end.
  static net::Connection Connect() {
    absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
    EXPECT_THAT(pair, IsOk());
    return std::move(pair->connection);
  }

  // Moves the clock on by `length`.
  void Advance(absl::Duration length) { now_ = net::After(now_, length); }

  // Ends the process `pid`, and calls `strategy` as the supervisor does:
  // children that another process created are registered first.
  void End(pid_t pid, const proc::ExitStatus& status,
           server::Strategy& strategy) {
    reaper_.End(pid, status);
    strategy.AdoptSpawned();
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
      strategy.ChildEnded(server::ChildTag::Unpack(ended.tag), ended, now_,
                          events_);
    }
  }

  // A log that writes nothing.
  server::EventLog log_{server::LogLevel::kOff};
  // The reaper of the strategy.
  FakeReaper reaper_;
  // The spawner of the strategy.
  FakeSpawner spawner_;
  // The program of children, which never runs.
  server::ChildProgram program_{server::Handler(), {}, nullptr, &log_};
  // The receiver of the events of the strategy.
  RecordedEvents events_;
  // The time, which Advance() changes.
  net::Instant now_ = net::Instant() + std::chrono::hours(1000);
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAKES_STRATEGY_FIXTURE_H_

// SPDX-License-Identifier: Apache-2.0

#include <sys/types.h>

#include <csignal>

#include "absl/status/status.h"
#include "brood/proc/child.h"
#include "brood/proc/exit_status.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/supervisor/supervisor_fixture.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::StatusIs;
using ::testing::IsEmpty;

constexpr pid_t kRehearsal = 8;

class SupervisorRehearsalTest : public SupervisorFixture {
 protected:
  // Makes the rehearsal create a child, which has ended with `status`.
  void Rehearse(const proc::ExitStatus& status) {
    reaper_->Adopt(proc::Child::Adopt(kRehearsal),
                   ChildTag::Rehearsal().Pack());
    reaper_->End(kRehearsal, status);
    strategy_->rehearsal_to_serve = Rehearsal{kRehearsal, {}};
  }
};

TEST_F(SupervisorRehearsalTest, ReapsTheChildBeforeTheFirstTurn) {
  Rehearse(FakeReaper::Exited(0));
  Turn();
  EXPECT_EQ(reaper_->live(), 0u);
  EXPECT_THAT(strategy_->Take(), IsEmpty()) << "it serves no connection";
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(SupervisorRehearsalTest, RehearsesOnce) {
  Rehearse(FakeReaper::Exited(0));
  Turn();
  strategy_->rehearsal_to_serve = absl::PermissionDeniedError("clone");
  Turn();
}

TEST_F(SupervisorRehearsalTest, ServesInSpiteOfAShortage) {
  strategy_->rehearsal_to_serve = absl::UnavailableError("clone");
  Turn();
  strategy_->rehearsal_to_serve = absl::ResourceExhaustedError("clone");
  Turn();
}

TEST_F(SupervisorRehearsalTest, ServesThoughTheChildFailed) {
  Rehearse(FakeReaper::Killed(SIGSYS));
  Turn();
  EXPECT_EQ(reaper_->live(), 0u);
  EXPECT_THAT(strategy_->Take(), IsEmpty());
}

// It could never serve. What is refused now may be allowed later.
TEST_F(SupervisorRehearsalTest, DoesNotServeWhereEveryProcessIsRefused) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kPermissionDenied, absl::StatusCode::kInvalidArgument,
        absl::StatusCode::kUnimplemented}) {
    strategy_->rehearsal_to_serve = absl::Status(code, "clone");
    EXPECT_THAT(Step(), StatusIs(code));
  }
  Rehearse(FakeReaper::Exited(0));
  Turn();
}

}  // namespace
}  // namespace brood::server

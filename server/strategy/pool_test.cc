// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/pool.h"

#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/server/strategy/event_batching.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::FakeStrategy;
using ::brood::testing::IsOk;
using ::brood::testing::StrategyFixture;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A pool of one worker, which is this process: the kernel names the sender of a
// report.
class PoolTest : public StrategyFixture {
 protected:
  PoolTest() {
    spawner_.set_next_pid(getpid());
    absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
    EXPECT_THAT(reports, IsOk());
    sender_ = reports->sender().fd();
    auto direct = std::make_unique<FakeStrategy>();
    direct_ = direct.get();
    pool_ = std::make_unique<Pool>(1, /*connections_per_worker=*/1000,
                                   std::move(direct), *std::move(reports),
                                   environment());
  }

  void Maintain() { pool_->Maintain(now_, /*idle=*/true, events_); }
  void Dispatch(Slot slot) { pool_->Dispatch(slot, Connect(), now_, events_); }
  // As the worker does it that served connection number `serial`.
  void Report(uint32_t serial, bool leaves = false) const {
    ReportSender(sender_).Send({0, serial, /*exit_code=*/2, leaves ? 1u : 0u,
                                now_.time_since_epoch().count(), rusage()});
  }
  void End(pid_t pid, const proc::ExitStatus& status) {
    StrategyFixture::End(pid, status, *pool_);
  }

  int sender_ = -1;
  FakeStrategy* direct_ = nullptr;
  std::unique_ptr<Pool> pool_;
};

TEST_F(PoolTest, ForksForAConnectionWhileItHasNoWorker) {
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"));
  EXPECT_LE(pool_->alarm(now_), now_) << "a worker is missing";
}

TEST_F(PoolTest, GivesAConnectionToItsWorker) {
  Maintain();
  EXPECT_EQ(spawner_.count(), 1);
  EXPECT_EQ(pool_->alarm(now_), net::Never());
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), IsEmpty());
  EXPECT_EQ(
      events_.Take(),
      (std::vector<std::string>{absl::StrCat("serving 7 by ", getpid())}));
}

TEST_F(PoolTest, FreesTheSlotOfAConnectionThatItsWorkerReports) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/1);
  pool_->Attend(now_, events_);
  EXPECT_EQ(events_.Take(),
            (std::vector<std::string>{absl::StrCat("ended 7 by ", getpid(),
                                                   ": exited with code 2")}));
  pool_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), IsEmpty());
}

TEST_F(PoolTest, DropsAReportOfAConnectionThatItsWorkerDoesNotHave) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/2);
  pool_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), IsEmpty());
}

// The report is older than the end: the connection was served.
TEST_F(PoolTest, TakesTheReportOfAWorkerThatHasEndedFirst) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/1, /*leaves=*/true);
  End(getpid(), FakeReaper::Exited(0));
  EXPECT_EQ(events_.Take(),
            (std::vector<std::string>{absl::StrCat("ended 7 by ", getpid(),
                                                   ": exited with code 2")}));
}

TEST_F(PoolTest, ReplacesAWorkerThatEnded) {
  Maintain();
  End(getpid(), FakeReaper::Killed(SIGKILL));
  Advance(absl::Seconds(2));  // beyond any back-off
  EXPECT_LE(pool_->alarm(now_), now_);
  Maintain();
  EXPECT_EQ(spawner_.count(), 2);
}

// One wake-up for the report and for the next connection.
TEST_F(PoolTest, LetsReportsWaitWhileAWorkerIsIdle) {
  Maintain();
  EXPECT_GE(pool_->fd(now_), 0);
  Dispatch(7);
  EXPECT_GE(pool_->fd(now_), 0) << "no worker is idle: a report may free one";
  Report(/*serial=*/1);
  pool_->Attend(now_, events_);
  EXPECT_EQ(pool_->fd(now_), -1);
  const net::Instant due = net::After(now_, EventBatching::kDelay);
  EXPECT_EQ(pool_->alarm(now_), due);
  EXPECT_GE(pool_->fd(due), 0);
}

TEST_F(PoolTest, LetsItsWorkersGoWhenItIsClosed) {
  Maintain();
  pool_->Close();
  Maintain();
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"));
  EXPECT_EQ(pool_->alarm(net::After(now_, absl::Seconds(1))), net::Never());
}

}  // namespace
}  // namespace brood::server

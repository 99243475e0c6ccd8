// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/pool.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/handler.h"
#include "brood/server/strategy/event_batching.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_spawner.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::FakeSpawner;
using ::brood::testing::FakeStrategy;
using ::brood::testing::IsOk;
using ::brood::testing::StrategyFixture;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A pool of one worker. The test plays the worker, with its end of the queue.
class PoolTest : public StrategyFixture {
 protected:
  PoolTest() {
    spawner_.set_next_pid(getpid());
    Create(/*size=*/1, /*connections_per_worker=*/1000, environment());
  }

  // Creates a pool of `size` workers.
  void Create(size_t size, int connections_per_worker,
              const StrategyEnvironment& environment) {
    pool_.reset();
    absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
    ASSERT_THAT(reports, IsOk());
    auto direct = std::make_unique<FakeStrategy>();
    direct_ = direct.get();
    pool_ =
        std::make_unique<Pool>(size, connections_per_worker, std::move(direct),
                               *std::move(reports), environment);
  }

  // Takes a turn, in which each worker that was forked reports that it is
  // ready.
  void Maintain() {
    pool_->Maintain(now_, /*idle=*/true, events_);
    for (; ready_ < spawner_.count(); ++ready_) Acknowledge(ready_);
  }
  // Takes the first message out of the queue of the `n`th worker.
  void Acknowledge(int n) const {
    net::HandoffQueue::AdoptAwaiting(dup(spawner_.kept_fds().at(n)))
        .Acknowledge();
  }
  void Dispatch(Slot slot) { pool_->Dispatch(slot, Connect(), now_, events_); }
  // Sends the report of the last worker about the connection number `serial`.
  void Report(uint32_t serial, bool leaves = false, int exit_code = 2) const {
    Acknowledge(spawner_.count() - 1);
    ReportSender(spawner_.kept_fds().back())
        .Send({WorkerReport::kMark, serial, exit_code, leaves ? 1u : 0u,
               now_.time_since_epoch().count(), rusage()});
  }
  void End(pid_t pid, const proc::ExitStatus& status) {
    StrategyFixture::End(pid, status, *pool_);
  }

  int ready_ = 0;  // how many workers have reported so
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
      (std::vector<std::string>{absl::StrCat("assigned 7 to ", getpid())}));
}

TEST_F(PoolTest, HasAPageForItsWorkerBesideThoseOfTheSlots) {
  Create(/*size=*/3, /*connections_per_worker=*/1000, environment());
  Maintain();
  Dispatch(1);
  EXPECT_GE(events_.last_page(), 3u);
  EXPECT_LT(events_.last_page(), 6u);
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

// 256 would become 0 in an exit status.
TEST_F(PoolTest, RecordsAnInvalidExitCodeAsABug) {
  Maintain();
  for (const int code : {256, -1}) {
    Dispatch(7);
    events_.Take();
    Report(/*serial=*/code == 256 ? 1 : 2, /*leaves=*/false, code);
    pool_->Attend(now_, events_);
    EXPECT_EQ(events_.Take(),
              (std::vector<std::string>{absl::StrCat(
                  "ended 7 by ", getpid(), ": exited with code 101")}));
  }
}

TEST_F(PoolTest, EndsAWorkerThatReportsAConnectionThatItDoesNotHave) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/2);
  pool_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), IsEmpty());
  EXPECT_THAT(reaper_.signals_to(getpid()), ElementsAre(SIGKILL));
}

// It may send a true report after the false one, before it is killed.
TEST_F(PoolTest, BelievesNoReportOfAWorkerThatHasBrokenARule) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/2);
  pool_->Attend(now_, events_);
  Report(/*serial=*/1);
  End(getpid(), FakeReaper::Killed(SIGKILL));
  EXPECT_EQ(events_.Take(),
            (std::vector<std::string>{absl::StrCat(
                "ended 7 by ", getpid(), ": killed by SIGKILL (Killed)")}));
}

// A report does not end the deadline of the connection.
TEST_F(PoolTest, EndsAWorkerAtTheDeadlineOfAConnectionThatItFinished) {
  Maintain();
  Dispatch(7);
  events_.Take();
  events_.set_deadline(net::After(now_, absl::Milliseconds(300)));
  Report(/*serial=*/1);
  pool_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ::testing::SizeIs(1));
  Maintain();
  Advance(absl::Milliseconds(300));
  EXPECT_LE(pool_->alarm(now_), now_);
  Maintain();
  EXPECT_THAT(reaper_.signals_to(getpid()), ElementsAre(SIGKILL));
}

// The report was sent before the end of the worker, so the connection was
// served.
TEST_F(PoolTest, ReadsTheReportOfAWorkerBeforeItsEnd) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/1, /*leaves=*/true);
  End(getpid(), FakeReaper::Exited(0));
  EXPECT_EQ(events_.Take(),
            (std::vector<std::string>{absl::StrCat("ended 7 by ", getpid(),
                                                   ": exited with code 2")}));
}

// The worker died before it took its connection over, and there is no free
// descriptor for it.
TEST_F(PoolTest, FailsAConnectionThatItCannotTakeBack) {
  Maintain();
  Dispatch(7);
  events_.Take();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none_free = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_free), 0);
  End(getpid(), FakeReaper::Killed(SIGKILL));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(events_.Take(),
              ElementsAre("failed 7: recvmsg: no descriptor is free"));
}

// A worker is told to exit when it has served its share; see HowManyToServe().
TEST_F(PoolTest, GivesNoWorkerMoreThanAQuarterBeyondItsShare) {
  Create(/*size=*/1, /*connections_per_worker=*/4, environment());
  Maintain();
  for (uint32_t serial = 1; serial <= 5; ++serial) {
    Dispatch(serial);
    Report(serial);
    pool_->Attend(now_, events_);
    EXPECT_THAT(direct_->Take(), IsEmpty()) << serial;
  }
  Dispatch(6);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 6"));
}

// K5: the kernel cannot tell which channels are readable.
TEST_F(PoolTest, ReadsReportsAlthoughEpollFails) {
  Maintain();
  Dispatch(7);
  events_.Take();
  Report(/*serial=*/1);
  const int epoll = pool_->fd(now_);
  const int saved = dup(epoll);
  ASSERT_EQ(dup3(STDERR_FILENO, epoll, O_CLOEXEC), epoll);
  pool_->Attend(now_, events_);
  ASSERT_EQ(dup3(saved, epoll, O_CLOEXEC), epoll);
  close(saved);
  EXPECT_THAT(events_.Take(), ::testing::SizeIs(1));
}

TEST_F(PoolTest, ReplacesAWorkerThatEnded) {
  Maintain();
  End(getpid(), FakeReaper::Killed(SIGKILL));
  Advance(absl::Seconds(2));  // beyond any back-off
  EXPECT_LE(pool_->alarm(now_), now_);
  Maintain();
  EXPECT_EQ(spawner_.count(), 2);
}

TEST_F(PoolTest, GivesNoConnectionToAWorkerThatReportsThatItLeaves) {
  Maintain();
  Dispatch(7);
  Report(/*serial=*/1, /*leaves=*/true);
  pool_->Attend(now_, events_);
  Dispatch(8);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 8"));
}

TEST_F(PoolTest, GivesNoConnectionToAWorkerOfAnEarlierGeneration) {
  Maintain();
  ASSERT_THAT(pool_->BeginGeneration(), IsOk());
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"));
}

TEST_F(PoolTest, EndsAConnectionAtTheTimeThatTheReportStates) {
  Maintain();
  Dispatch(7);
  const net::Instant reported = now_;
  Report(/*serial=*/1);
  Advance(absl::Milliseconds(1));
  pool_->Attend(now_, events_);
  EXPECT_EQ(events_.last_time(), reported);
}

// A process that was forked for a connection counts as a worker, so that the
// machine has no more processes than workers.
TEST_F(PoolTest, CountsProcessesThatWereForkedDirectlyAsWorkers) {
  Create(/*size=*/4, /*connections_per_worker=*/1000, environment());
  spawner_.set_next_pid(FakeSpawner::kFirstPid);
  for (int turn = 0; turn < 3; ++turn) {
    Maintain();
    for (const int fd : spawner_.kept_fds()) {
      net::HandoffQueue::AdoptAwaiting(dup(fd)).Acknowledge();
    }
  }
  ASSERT_EQ(reaper_.live(), 4u);
  Advance(WorkerSet::kProof);
  for (const pid_t pid : reaper_.pids()) End(pid, FakeReaper::Exited(0));
  for (const pid_t direct : {201, 202}) {
    reaper_.Adopt(proc::Child::Adopt(direct), ChildTag::Connection(0).Pack());
  }
  Maintain();
  EXPECT_EQ(reaper_.live(), 4u);
}

// The supervisor wakes once for the report and for the next connection.
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

TEST_F(PoolTest, TellsItsWorkersToExitWhenItIsClosed) {
  Maintain();
  pool_->Close();
  Maintain();
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"));
  EXPECT_EQ(pool_->alarm(net::After(now_, absl::Milliseconds(500))),
            net::After(now_, WorkerSet::kLeaveTime))
      << "by then it must have left";
  End(getpid(), FakeReaper::Exited(0));
  Advance(absl::Seconds(2));
  Maintain();
  EXPECT_EQ(pool_->alarm(now_), net::Never());
  Maintain();
  EXPECT_EQ(spawner_.count(), 1) << "it replaces none";
}

// A pool whose worker is a process.
class PoolWorkerTest : public PoolTest {
 protected:
  PoolWorkerTest() : clone_spawner_(*proc::CloneSpawner::Create(SIGCHLD)) {
    EXPECT_THAT(clone_spawner_.Prepare(), IsOk());
    StrategyEnvironment environment = this->environment();
    environment.spawner = &clone_spawner_;
    environment.program = &serving_program_;
    Create(/*size=*/1, /*connections_per_worker=*/2, environment);
  }

  // Dispatches a connection, and waits for the report of its worker. Returns
  // the events of the pool until then.
  std::vector<std::string> Serve(Slot slot) {
    Dispatch(slot);
    pollfd reports = {pool_->fd(now_), POLLIN, 0};
    EXPECT_EQ(TEMP_FAILURE_RETRY(poll(&reports, 1, 10000)), 1);
    pool_->Attend(now_, events_);
    return events_.Take();
  }

  proc::CloneSpawner clone_spawner_;
  ChildProgram serving_program_{
      [](net::Connection& /*connection*/) { return ExitCode::kServed; },
      {},
      nullptr,
      &log_};
};

// A share of two connections: a number below four is not varied.
TEST_F(PoolWorkerTest, ServesItsShareOfConnectionsAndExits) {
  Maintain();
  ASSERT_EQ(reaper_.live(), 1u);
  const pid_t worker = reaper_.pids().front();
  for (const Slot slot : {3, 4}) {
    EXPECT_EQ(Serve(slot), (std::vector<std::string>{
                               absl::StrCat("assigned ", slot, " to ", worker),
                               absl::StrCat("ended ", slot, " by ", worker,
                                            ": exited with code 0")}));
  }
  Dispatch(5);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 5"));
  pool_.reset();  // so that the worker ends in any case
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(worker, &status, __WALL)), worker);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
}

}  // namespace
}  // namespace brood::server

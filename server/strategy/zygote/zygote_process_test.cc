// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/zygote_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/event_fd.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/handler.h"
#include "brood/server/log/event_log.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fakes/fake_spawner.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::FakeSpawner;
using ::brood::testing::IsOk;
using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

constexpr size_t kCells = 8;
constexpr uint32_t kStandbyCell = kCells - 1;
constexpr int kServed = static_cast<int>(ExitCode::kServed);

// The exit codes by which a child reports whether it has descriptors or the
// table of the zygote.
constexpr auto kHasNone = static_cast<ExitCode>(40);
constexpr auto kHasSome = static_cast<ExitCode>(41);

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// Returns whether this process has the memory at `address`.
bool IsMapped(const void* address) {
  const auto page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto page = reinterpret_cast<uintptr_t>(address) & ~(page_size - 1);
  unsigned char is_resident;
  return mincore(reinterpret_cast<void*>(page), 1, &is_resident) == 0;
}

// The supervisor's side of a zygote, whose spawner a derived fixture chooses.
class ZygoteProcessTest : public ::brood::testing::LeakCheck {
 protected:
  explicit ZygoteProcessTest(proc::Spawner* spawner)
      : queue_(*net::HandoffQueue::Create()),
        standby_queue_(*net::HandoffQueue::Create()),
        table_(*SpawnTable::Create(kCells)),
        cell_(table_.Begin(0, 1)),
        process_(queue_->fd_to_await(), standby_queue_->fd_to_await(),
                 *net::EventFd::Create(), std::move(table_), spawner,
                 &program_) {}

  // Gives a connection to the zygote, numbered `serial`, for `slot`.
  void Offer(uint32_t slot, uint32_t serial) {
    const absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
    ASSERT_THAT(pair, IsOk());
    EXPECT_THAT(queue_->Offer({slot, serial}, pair->connection), IsOk());
  }
  void Order(const net::HandoffQueue& queue, ZygoteCommand command,
             uint32_t serial = 0) {
    EXPECT_THAT(queue.Order({command, serial}), IsOk());
  }

  // Returns whether this process has the table or a descriptor of the zygote.
  bool HasSome() const {
    const auto& fds = process_.kept_fds();
    return IsMapped(cell_) || std::any_of(fds.begin(), fds.end(), IsOpen);
  }

  EventLog log_{LogLevel::kOff};
  // Children only report what they have of the zygote.
  ChildProgram program_{[this](net::Connection& /*connection*/) {
                          return HasSome() ? kHasSome : kHasNone;
                        },
                        {},
                        nullptr,
                        &log_};
  proc::Private<net::HandoffQueue> queue_;
  proc::Private<net::HandoffQueue> standby_queue_;
  SpawnTable table_;
  const pid_t* const cell_;  // in the table
  ZygoteProcess process_;
};

// The steps of the zygote run in the test process, with pretended children.
class ZygoteStepTest : public ZygoteProcessTest {
 protected:
  ZygoteStepTest() : ZygoteProcessTest(&spawner_) {}

  // Handles one message. Returns whether the zygote would go on.
  bool Step() { return process_.HandleNextMessage(*queue_); }

  FakeSpawner spawner_;
};

TEST_F(ZygoteStepTest, KeepsItsDescriptorsInAscendingOrder) {
  const auto& fds = process_.kept_fds();
  EXPECT_TRUE(std::is_sorted(fds.begin(), fds.end()));
  for (const int fd : {queue_->fd_to_await(), standby_queue_->fd_to_await(),
                       process_.doorbell().fd()}) {
    EXPECT_TRUE(std::binary_search(fds.begin(), fds.end(), fd));
  }
}

TEST_F(ZygoteStepTest, RecordsTheChildThenAcknowledgesThenRings) {
  const net::Instant before = net::Now();
  Offer(3, 17);
  EXPECT_TRUE(Step());
  const SpawnTable::Record record = process_.table().Read(3, 17);
  EXPECT_EQ(record.pid, FakeSpawner::kFirstPid);
  EXPECT_EQ(record.error, 0);
  EXPECT_GE(record.at, before.time_since_epoch().count());
  EXPECT_LE(record.at, net::Now().time_since_epoch().count());
  EXPECT_TRUE(queue_->Empty());
  EXPECT_EQ(process_.doorbell().Take(), 1u);
}

// The zygote before was killed after it had forked and before it had
// acknowledged.
TEST_F(ZygoteStepTest, ForksOnceForAConnectionThatIsOfferedAgain) {
  Offer(3, 17);
  Step();
  Offer(3, 17);
  EXPECT_TRUE(Step());
  EXPECT_EQ(spawner_.count(), 1);
  EXPECT_TRUE(queue_->Empty());
  EXPECT_EQ(process_.doorbell().Take(), 2u);
}

TEST_F(ZygoteStepTest, RecordsTheErrorWhenItCannotFork) {
  spawner_.FailWith(absl::ResourceExhaustedError("clone"));
  Offer(3, 17);
  errno = ENOMEM;
  EXPECT_TRUE(Step());
  EXPECT_EQ(process_.table().Read(3, 17).pid, 0);
  EXPECT_NE(process_.table().Read(3, 17).error, 0);
  EXPECT_TRUE(queue_->Empty());
  EXPECT_EQ(process_.doorbell().Take(), 1u);
}

TEST_F(ZygoteStepTest, CreatesAStandbyThatHasTheTableAndTheDescriptors) {
  Order(*queue_, kCreateStandby, 5);
  EXPECT_TRUE(Step());
  EXPECT_EQ(process_.standby_cell(), kStandbyCell);
  EXPECT_EQ(process_.table().Read(kStandbyCell, 5).pid, FakeSpawner::kFirstPid);
  EXPECT_EQ(process_.doorbell().Take(), 1u);
}

TEST_F(ZygoteStepTest, RecordsTheErrorWhenItCannotCreateAStandby) {
  spawner_.FailWith(absl::ResourceExhaustedError("clone"));
  Order(*queue_, kCreateStandby, 5);
  EXPECT_TRUE(Step());
  EXPECT_NE(process_.table().Read(kStandbyCell, 5).error, 0);
}

TEST_F(ZygoteStepTest, RehearsesOnceAndRecordsTheChildOrTheError) {
  for (int i = 0; i < 2; ++i) {
    Order(*queue_, kRehearse, 5);
    EXPECT_TRUE(Step());
  }
  EXPECT_EQ(spawner_.count(), 1);
  const uint32_t cell = process_.rehearsal_cell();
  EXPECT_NE(cell, process_.standby_cell());
  EXPECT_EQ(process_.table().Read(cell, 5).pid, FakeSpawner::kFirstPid);
  EXPECT_EQ(process_.doorbell().Take(), 2u);
  spawner_.FailWith(absl::UnimplementedError("clone"));
  Order(*queue_, kRehearse, 6);
  errno = ENOSYS;
  EXPECT_TRUE(Step());
  EXPECT_NE(process_.table().Read(cell, 6).error, 0);
}

TEST_F(ZygoteStepTest, DropsAMessageThatTheSupervisorCannotHaveSent) {
  ASSERT_EQ(send(queue_->fd_to_offer(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(Step());
  EXPECT_TRUE(queue_->Empty());
  EXPECT_EQ(spawner_.count(), 0);
}

TEST_F(ZygoteStepTest, EndsWhenItIsToldToExitOrTheSupervisorIsGone) {
  Order(*queue_, kExit);
  EXPECT_FALSE(Step());
  const net::HandoffQueue alone = [] {
    const absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
    return net::HandoffQueue::AdoptAwaiting(dup(queue->fd_to_await()));
  }();
  EXPECT_FALSE(process_.HandleNextMessage(alone));
}

// The zygote and its standby run as processes: children of the test, as they
// are of the supervisor.
class ZygoteProcessesTest : public ZygoteProcessTest {
 protected:
  ZygoteProcessesTest()
      : ZygoteProcessTest(&spawner_),
        spawner_(*proc::CloneSpawner::Create(SIGCHLD)) {
    EXPECT_THAT(spawner_.Prepare(), IsOk());
    EXPECT_THAT(process_.table().ShareWithChildren(), IsOk());
  }

  // Starts a process that calls `run`. Returns its pid.
  pid_t Start(int (ZygoteProcess::*run)()) {
    absl::StatusOr<proc::Child> child = spawner_.Spawn(
        [this, run] { return (process_.*run)(); }, process_.kept_fds());
    EXPECT_THAT(child, IsOk());
    return std::move(*child).Release();
  }

  // Waits until the doorbell rings.
  void AwaitDoorbell() const {
    pollfd doorbell = {process_.doorbell().fd(), POLLIN, 0};
    EXPECT_EQ(TEMP_FAILURE_RETRY(poll(&doorbell, 1, 10000)), 1);
    process_.doorbell().Take();
  }

  // Waits for the end of `pid`, a child of this process. Returns its status.
  static int WaitFor(pid_t pid) {
    int status = -1;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, __WALL)), pid);
    return status;
  }

  proc::CloneSpawner spawner_;
};

TEST_F(ZygoteProcessesTest,
       ForksChildrenOfTheSupervisorWithoutItsTableAndDescriptors) {
  const pid_t zygote = Start(&ZygoteProcess::RunZygote);
  Offer(0, 1);
  AwaitDoorbell();
  const pid_t child = process_.table().Read(0, 1).pid;
  ASSERT_GT(child, 0);
  EXPECT_PRED1(ExitedWithCode(static_cast<int>(kHasNone)), WaitFor(child));
  Order(*queue_, kExit);
  EXPECT_PRED1(ExitedWithCode(kServed), WaitFor(zygote));
}

// The old zygote is killed. A standby that it created, and which thus has the
// table and the descriptors, forks for the connection that waits.
TEST_F(ZygoteProcessesTest, GoesOnAsTheStandbyThatItCreated) {
  const pid_t zygote = Start(&ZygoteProcess::RunZygote);
  Order(*queue_, kCreateStandby, 1);
  AwaitDoorbell();
  const pid_t standby = process_.table().Read(kStandbyCell, 1).pid;
  ASSERT_GT(standby, 0);
  kill(zygote, SIGKILL);
  EXPECT_PRED1(KilledBySignal(SIGKILL), WaitFor(zygote));
  Offer(0, 2);
  Order(*standby_queue_, kTakeOver);
  AwaitDoorbell();
  const pid_t child = process_.table().Read(0, 2).pid;
  ASSERT_GT(child, 0);
  EXPECT_PRED1(ExitedWithCode(static_cast<int>(kHasNone)), WaitFor(child));
  EXPECT_TRUE(standby_queue_->Empty()) << "the command is not for another one";
  Order(*queue_, kExit);
  EXPECT_PRED1(ExitedWithCode(kServed), WaitFor(standby));
}

TEST_F(ZygoteProcessesTest, EndsAsAStandbyThatIsToldToExit) {
  const pid_t standby = Start(&ZygoteProcess::RunStandby);
  Offer(0, 1);
  Order(*queue_, kExit);  // so that it would end if it took over
  Order(*standby_queue_, kExit);
  EXPECT_PRED1(ExitedWithCode(kServed), WaitFor(standby));
  EXPECT_FALSE(queue_->Empty()) << "it left the connection to the zygote";
}

TEST_F(ZygoteProcessesTest, EndsWithTheSupervisor) {
  const pid_t zygote = Start(&ZygoteProcess::RunZygote);
  const pid_t standby = Start(&ZygoteProcess::RunStandby);
  queue_ = {};
  standby_queue_ = {};
  EXPECT_PRED1(ExitedWithCode(kServed), WaitFor(zygote));
  EXPECT_PRED1(ExitedWithCode(kServed), WaitFor(standby));
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_SUPERVISOR_FIXTURE_H_
#define BROOD_SERVER_SUPERVISOR_SUPERVISOR_FIXTURE_H_

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/types.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/proc/child.h"
#include "brood/proc/program.h"
#include "brood/server/connection_report.h"
#include "brood/server/options.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/upgrade/generation_link.h"
#include "brood/server/upgrade/generations.h"
#include "brood/server/upgrade/main_process.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/server/vocabulary/slot.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {

// SupervisorFixture has a supervisor with a listener on loopback. No process is
// created, and no test waits: the strategy and the reaper are fakes, the clock
// stands still until a test moves it, and each Step() is one turn.
//
// For unit tests of the supervisor, in one process. A test changes `options_`
// and calls Create() for a supervisor with other options.
//
// Example:
//   class SupervisorTest : public SupervisorFixture {};
//   TEST_F(SupervisorTest, DispatchesAConnection) {
//     const testing::TestClient client = Connect();
//     Turn();
//     EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"));
//   }
class SupervisorFixture : public ::brood::testing::LeakCheck {
 protected:
  // The time that children have to finish after the first request to stop.
  static constexpr absl::Duration kGrace = absl::Seconds(10);
  // The pid of the program that an upgrade starts.
  static constexpr pid_t kProgram = 7;
  // How long a listener on loopback stays open when its queue is empty.
  static constexpr absl::Duration kRoundTrip = absl::Milliseconds(10);

  // Creates a supervisor with one listener on loopback and four connections at
  // most.
  SupervisorFixture() {
    // The listener stamps connections by the real clock.
    now_ = net::Now();
    options_.listen = {"127.0.0.1:0"};
    options_.log.level = LogLevel::kOff;
    options_.max_connections = 4;
    options_.drain_grace = kGrace;
    options_.on_connection_end = [this](const ConnectionReport& report) {
      EXPECT_FALSE(strategy_->busy()) << "reported from within the strategy";
      ended_.push_back(report.pid);
    };
    Create();
  }
  // Ends every process that is left, so that the destructor of the supervisor
  // ends.
  ~SupervisorFixture() override {
    if (supervisor_ == nullptr) return;
    EndAll();
  }

  // Creates a supervisor with `options_`.
  void Create() {
    supervisor_.reset();
    absl::StatusOr<Requests> requests = Requests::Create();
    ASSERT_THAT(requests, ::brood::testing::IsOk());
    requests_ = std::make_unique<Requests>(*std::move(requests));
    absl::StatusOr<Listeners> listeners = OpenListeners(options_, {}, &log_);
    ASSERT_THAT(listeners, ::brood::testing::IsOk());
    endpoint_ = listeners->front().socket.endpoint();
    listener_fd_ = listeners->front().socket.fd();
    auto deadlines = Deadlines::Create(options_, options_.Capacity(), now_,
                                       /*listeners=*/{}, &log_);
    ASSERT_THAT(deadlines, ::brood::testing::IsOk());
    auto manager = ServiceManager::Create(options_.notify_socket, &log_);
    ASSERT_THAT(manager, ::brood::testing::IsOk());
    auto reaper = std::make_unique<::brood::testing::FakeReaper>();
    reaper_ = reaper.get();
    auto strategy = std::make_unique<::brood::testing::FakeStrategy>();
    strategy_ = strategy.get();
    strategy_->on_dispatch = [this](Slot slot, net::Connection,
                                    net::Instant now,
                                    Strategy::Events& events) {
      last_pid_ = 1000 + static_cast<pid_t>(++dispatched_);
      reaper_->Adopt(proc::Child::Adopt(last_pid_),
                     ChildTag::Connection(slot).Pack());
      events.Serving(slot, last_pid_, now);
    };
    auto generations = std::make_unique<MainProcess>(
        options_, manager->get(), reaper_, &log_,
        [this](const proc::Program& program) { return StartProgram(program); });
    generations_ = generations.get();
    auto upgrade =
        Upgrade::Create(options_, manager->get(), generations_, &log_);
    ASSERT_THAT(upgrade, ::brood::testing::IsOk());
    Supervisor::Parts parts = {*std::move(listeners),
                               std::move(reaper),
                               std::move(strategy),
                               *std::move(deadlines),
                               RequestSignals(),
                               Handshake(),
                               *std::move(manager),
                               std::move(generations),
                               *std::move(upgrade),
                               requests_.get(),
                               &log_,
                               Now};
    supervisor_ = std::make_unique<Supervisor>(options_, std::move(parts));
    ASSERT_THAT(supervisor_->Start(), ::brood::testing::IsOk());
  }

  // Takes a turn, after which the server has not stopped.
  void Turn() { EXPECT_THAT(Step(), ::brood::testing::IsOkAndHolds(true)); }
  // Takes a turn, and returns what Supervisor::Step() returns.
  absl::StatusOr<bool> Step() {
    return supervisor_->Step(absl::ZeroDuration());
  }
  // Moves the clock on by `length`.
  static void Advance(absl::Duration length) {
    now_ = net::After(now_, length);
  }

  // Returns a client that has connected.
  ::brood::testing::TestClient Connect() const {
    absl::StatusOr<::brood::testing::TestClient> client =
        ::brood::testing::TestClient::Connect(endpoint_);
    EXPECT_THAT(client, ::brood::testing::IsOk());
    return *std::move(client);
  }

  // Ends every process that is left.
  void EndAll() {
    for (const pid_t pid : reaper_->pids()) {
      reaper_->End(pid, ::brood::testing::FakeReaper::Killed(SIGKILL));
    }
  }

  // Reports that the new program accepts connections, as the program itself
  // does.
  void ReportReady() const { eventfd_write(program_.fds.at(0), 1); }

  // The time, as the supervisor reads it.
  static inline net::Instant now_;

  // The options of the next Create().
  Options options_;
  // A log that writes nothing.
  EventLog log_{LogLevel::kOff};
  // The requests that the supervisor takes.
  std::unique_ptr<Requests> requests_;
  // The reaper of the supervisor.
  ::brood::testing::FakeReaper* reaper_ = nullptr;
  // The strategy of the supervisor.
  ::brood::testing::FakeStrategy* strategy_ = nullptr;
  // The generations of the supervisor, which is the main process.
  Generations* generations_ = nullptr;
  // Where the listener listens.
  net::Endpoint endpoint_;
  // The descriptor of the listener, which the supervisor owns.
  int listener_fd_ = -1;
  // The number of connections that were given to the strategy.
  int dispatched_ = 0;
  // The pid of the process that the strategy created last.
  pid_t last_pid_ = 0;
  // The error with which the start of a new program fails, if it is not OK.
  absl::Status program_status_;
  // The program that was started last.
  proc::Program program_;
  // The end of the link to the main process that the new program has.
  GenerationLink link_;
  // The processes whose connections were reported as ended, in order.
  std::vector<pid_t> ended_;
  // The supervisor under test.
  std::unique_ptr<Supervisor> supervisor_;

 private:
  // Returns the time of the test, as the clock of the supervisor.
  static net::Instant Now() { return now_; }

  // Records `program` instead of starting it, and copies its end of the link to
  // the main process. Returns process kProgram, or `program_status_` if that is
  // an error.
  absl::StatusOr<proc::Child> StartProgram(const proc::Program& program) {
    program_ = program;
    if (!program_status_.ok()) return program_status_;
    link_ = GenerationLink::Adopt(
        net::Socket::Adopt(fcntl(program.fds.back(), F_DUPFD_CLOEXEC, 3)));
    return proc::Child::Adopt(kProgram);
  }
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_SUPERVISOR_FIXTURE_H_

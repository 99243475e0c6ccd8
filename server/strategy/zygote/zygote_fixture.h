// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_FIXTURE_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_FIXTURE_H_

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/proc/exit_status.h"
#include "brood/server/strategy/zygote/zygote.h"
#include "brood/server/vocabulary/slot.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {

// The pid of the zygote, which is created first.
inline constexpr pid_t kZygotePid = 101;
// The pid of the standby, which is created next.
inline constexpr pid_t kStandbyPid = 102;
// The pid of the first child that the zygote creates.
inline constexpr pid_t kFirstChild = 103;
// The number of slots of the strategy.
inline constexpr size_t kSlots = 100;

// ZygoteFixture is a Zygote without processes: the test runs the steps of the
// zygote in its own process, one message at a time.
//
// Example:
//   TEST_F(ZygoteFixture, Serves) {
//     Dispatch(7);
//     EXPECT_TRUE(RunZygoteStep());
//   }
class ZygoteFixture : public ::brood::testing::StrategyFixture {
 protected:
  // Starts `zygote_`. Creates no process, because the spawner is a fake.
  ZygoteFixture() { EXPECT_THAT(zygote_->Start(), ::brood::testing::IsOk()); }

  // Gives a connection to the zygote.
  void Dispatch(Slot slot) {
    zygote_->Dispatch(slot, Connect(), now_, events_);
  }

  // Handles one message. Returns whether the zygote would go on.
  bool RunZygoteStep() {
    const net::HandoffQueue queue =
        net::HandoffQueue::AdoptAwaiting(dup(zygote_->process().queue_fd()));
    // Without a message, the zygote would wait.
    if (!queue.TryAwait()->has_value()) {
      ADD_FAILURE() << "there is no message";
      return false;
    }
    return zygote_->process().HandleNextMessage(queue);
  }

  // Returns the command that waits for the standby; nothing if there is none.
  absl::optional<uint32_t> CommandToStandby() {
    const ZygoteProcess& process = zygote_->process();
    for (const int fd : process.kept_fds()) {
      if (fd == process.queue_fd() || fd == process.doorbell().fd()) continue;
      const auto message = net::HandoffQueue::AdoptAwaiting(dup(fd)).TryAwait();
      EXPECT_THAT(message, ::brood::testing::IsOk());
      if (*message) return (*message)->ticket.slot;
    }
    return absl::nullopt;
  }

  // Returns whether the doorbell rings.
  bool DoorbellRings() {
    pollfd doorbell = {zygote_->process().doorbell().fd(), POLLIN, 0};
    return poll(&doorbell, 1, 0) == 1;
  }

  // Ends the process `pid`; see StrategyFixture.
  void End(pid_t pid, const proc::ExitStatus& status) {
    ::brood::testing::StrategyFixture::End(pid, status, *zygote_);
  }

  // Calls Zygote::Maintain() in a turn without other work.
  void Maintain() { zygote_->Maintain(now_, /*idle=*/true, events_); }

  // The strategy under test.
  std::unique_ptr<Zygote> zygote_ =
      std::make_unique<Zygote>(kSlots, environment());
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_FIXTURE_H_

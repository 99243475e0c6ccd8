// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/request_signals.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "absl/status/statusor.h"
#include "brood/server/control/requests.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

bool Readable(int fd) {
  pollfd polled = {fd, POLLIN, 0};
  return poll(&polled, 1, 0) == 1;
}

using Action = void (*)(int);

Action ActionOf(int signal) {
  struct sigaction action = {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

constexpr int kRequestSignals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};

bool IsBlocked(int signal) {
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  return sigismember(&blocked, signal) == 1;
}

// The census includes the mask of signals.
class RequestSignalsTest : public ::brood::testing::LeakCheck {
 protected:
  static absl::StatusOr<RequestSignals> Join(
      const Requests& requests,
      RequestSignals::Use use = RequestSignals::kStopAndUpgrade) {
    return RequestSignals::Join(&requests, use);
  }

  absl::StatusOr<Requests> one_ = Requests::Create();
  absl::StatusOr<Requests> other_ = Requests::Create();
};

TEST_F(RequestSignalsTest, HasNothingWhileNoSignalComes) {
  auto signals = Join(*one_);
  ASSERT_THAT(signals, IsOk());
  EXPECT_FALSE(Readable(signals->fd()));
  signals->Forward();
  EXPECT_EQ(one_->Take().stops, 0);
}

TEST_F(RequestSignalsTest, PassesASignalToEveryServerWhicheverReadsIt) {
  auto first = Join(*one_);
  auto second = Join(*other_);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  for (RequestSignals* finder : {&*first, &*second}) {
    for (int signal : {SIGTERM, SIGINT}) {
      raise(signal);
      EXPECT_TRUE(Readable(first->fd()));
      EXPECT_TRUE(Readable(second->fd()));
      finder->Forward();
      EXPECT_EQ(one_->Take().stops, 1);
      EXPECT_EQ(other_->Take().stops, 1);
      EXPECT_FALSE(Readable(first->fd()));
    }
  }
}

TEST_F(RequestSignalsTest, CountsTwoSignalsTwice) {
  auto first = Join(*one_);
  auto second = Join(*other_);
  raise(SIGTERM);
  raise(SIGINT);
  second->Forward();
  EXPECT_EQ(one_->Take().stops, 2);
  EXPECT_EQ(other_->Take().stops, 2);
  raise(SIGTERM);
  first->Forward();
  raise(SIGTERM);
  first->Forward();
  EXPECT_EQ(one_->Take().stops, 2);
}

TEST_F(RequestSignalsTest, RequestsAnUpgradeOfEveryServerBySighupAndSigusr2) {
  auto first = Join(*one_);
  auto second = Join(*other_);
  for (int signal : {SIGHUP, SIGUSR2}) {
    raise(signal);
    raise(SIGTERM);
    first->Forward();
    for (const Requests* requests : {&*one_, &*other_}) {
      const Requests::Taken taken = requests->Take();
      EXPECT_TRUE(taken.upgrade);
      EXPECT_EQ(taken.stops, 1);
    }
  }
}

TEST_F(RequestSignalsTest, GivesTheSignalsBackWhenTheLastServerLeaves) {
  absl::optional<RequestSignals> first = *Join(*one_);
  absl::optional<RequestSignals> second = *Join(*other_);
  const int fd = first->fd();
  first.reset();
  EXPECT_NE(ActionOf(SIGTERM), SIG_DFL);
  raise(SIGTERM);
  second->Forward();
  EXPECT_EQ(one_->Take().stops, 0) << "it has left";
  EXPECT_EQ(other_->Take().stops, 1);
  EXPECT_EQ(second->fd(), fd);
  second.reset();
  for (const int signal : kRequestSignals) {
    EXPECT_EQ(ActionOf(signal), SIG_DFL) << signal;
  }
}

TEST_F(RequestSignalsTest, BlocksNoSignal) {
  const auto signals = Join(*one_);
  for (const int signal : kRequestSignals) EXPECT_FALSE(IsBlocked(signal));
}

TEST_F(RequestSignalsTest, TakesOnlyTheSignalsThatAServerUses) {
  absl::optional<RequestSignals> stops = *Join(*one_, RequestSignals::kStop);
  EXPECT_EQ(ActionOf(SIGHUP), SIG_DFL);
  EXPECT_EQ(ActionOf(SIGUSR2), SIG_DFL);
  {
    const auto upgrades = Join(*other_);
    EXPECT_NE(ActionOf(SIGHUP), SIG_DFL);
  }
  EXPECT_EQ(ActionOf(SIGHUP), SIG_DFL);
  EXPECT_NE(ActionOf(SIGTERM), SIG_DFL);
}

TEST_F(RequestSignalsTest, LeavesAnIgnoredSignalIgnored) {
  for (const int signal : kRequestSignals) std::signal(signal, SIG_IGN);
  {
    const auto signals = Join(*one_);
    for (const int signal : kRequestSignals) {
      EXPECT_EQ(ActionOf(signal), SIG_IGN) << signal;
      raise(signal);
    }
    signals->Forward();
    EXPECT_EQ(one_->Take().stops, 0);
  }
  for (const int signal : kRequestSignals) {
    EXPECT_EQ(std::signal(signal, SIG_DFL), SIG_IGN);
  }
}

int handled = 0;

TEST_F(RequestSignalsTest, RaisesAgainASignalThatNoServerHasRead) {
  const Action before = std::signal(SIGTERM, [](int) { ++handled; });
  handled = 0;
  {
    const auto signals = Join(*one_);
    raise(SIGTERM);
    EXPECT_EQ(handled, 0);
  }
  EXPECT_EQ(handled, 1) << "the signal that was not looked at";
  {
    const auto signals = Join(*one_);
    raise(SIGTERM);
    signals->Forward();
  }
  EXPECT_EQ(handled, 1);
  std::signal(SIGTERM, before);
}

int WaitStatusOf(pid_t pid) {
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

TEST_F(RequestSignalsTest, EndAProcessThatWasForkedMeanwhile) {
  const auto signals = Join(*one_);
  const pid_t pid = fork();
  if (pid == 0) {
    raise(SIGTERM);
    _exit(0);
  }
  const int status = WaitStatusOf(pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  signals->Forward();
  EXPECT_EQ(one_->Take().stops, 0);
}

TEST_F(RequestSignalsTest, CanBeJoinedInAProcessThatWasForkedMeanwhile) {
  const auto signals = Join(*one_);
  const pid_t pid = fork();
  if (pid == 0) {
    {
      const auto own = Join(*other_);
      raise(SIGTERM);
      own->Forward();
      if (other_->Take().stops != 1) _exit(1);
    }
    _exit(ActionOf(SIGTERM) == SIG_DFL ? 0 : 2);
  }
  EXPECT_EQ(WaitStatusOf(pid), 0);
  EXPECT_FALSE(Readable(signals->fd()));
}

TEST_F(RequestSignalsTest, CanBeJoinedAgainAfterTheLastServerHasLeft) {
  for (int round = 0; round < 3; ++round) {
    auto signals = Join(*one_);
    ASSERT_THAT(signals, IsOk());
    raise(SIGTERM);
    signals->Forward();
    EXPECT_EQ(one_->Take().stops, 1);
  }
}

TEST_F(RequestSignalsTest, KeepsASignalBeforeAndAfterTheServerIfBlocked) {
  sigset_t before;
  sigprocmask(SIG_BLOCK, nullptr, &before);
  ASSERT_THAT(RequestSignals::BlockAlone(), IsOk());
  raise(SIGTERM);
  {
    auto signals = Join(*one_);
    ASSERT_THAT(signals, IsOk());
    signals->Forward();
    EXPECT_EQ(one_->Take().stops, 1) << "it waited";
    EXPECT_FALSE(IsBlocked(SIGTERM));
    raise(SIGTERM);
  }
  for (const int signal : kRequestSignals) EXPECT_TRUE(IsBlocked(signal));
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGTERM), 1) << "it waits again";
  const timespec at_once = {0, 0};
  sigtimedwait(&pending, nullptr, &at_once);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(RequestSignalsTest, StaysJoinedWhenItIsMoved) {
  auto signals = Join(*one_);
  { const RequestSignals moved = *std::move(signals); }
  EXPECT_EQ(ActionOf(SIGTERM), SIG_DFL);
}

}  // namespace
}  // namespace brood::server

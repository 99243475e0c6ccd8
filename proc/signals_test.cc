// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <utility>
#include <vector>

#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::testing::ElementsAre;

volatile sig_atomic_t handled = 0;

// SIGUSR1 and SIGUSR2 have a handler here, which must not run.
class SignalInboxTest : public ::brood::testing::LeakCheck {
 protected:
  SignalInboxTest() {
    handled = 0;
    for (int signal : {SIGUSR1, SIGUSR2}) {
      std::signal(signal, [](int) { handled = handled + 1; });
    }
  }
  ~SignalInboxTest() override {
    for (int signal : {SIGUSR1, SIGUSR2}) std::signal(signal, SIG_DFL);
  }

  static SignalInbox InboxFor(std::initializer_list<int> signals) {
    return *SignalInbox::Create(signals);
  }
  static bool IsReadable(int fd) {
    pollfd waiting = {fd, POLLIN, 0};
    return poll(&waiting, 1, 0) == 1;
  }
  static bool IsBlocked(int signal) {
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, nullptr, &blocked);
    return sigismember(&blocked, signal) == 1;
  }
  static void SetBlocked(int signal, bool blocked) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, signal);
    sigprocmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &signals, nullptr);
  }
};

TEST_F(SignalInboxTest, TakesSignalsInsteadOfHandlingThem) {
  SignalInbox inbox = InboxFor({SIGUSR1, SIGUSR2});
  raise(SIGUSR2);
  raise(SIGUSR1);
  std::vector<int> taken;
  while (const absl::optional<siginfo_t> signal = inbox.TryTake()) {
    taken.push_back(signal->si_signo);
  }
  EXPECT_THAT(taken, ElementsAre(SIGUSR1, SIGUSR2));  // the kernel's order
  EXPECT_EQ(handled, 0);
}

TEST_F(SignalInboxTest, TakesQueuedSignalsInOrder) {
  SignalInbox inbox = InboxFor({SIGRTMAX});
  std::vector<int> sent, taken;
  for (int i = 0; i < 10; ++i) {
    sigval value;
    value.sival_int = i;
    ASSERT_EQ(sigqueue(getpid(), SIGRTMAX, value), 0);
    sent.push_back(i);
  }
  while (const absl::optional<siginfo_t> signal = inbox.TryTake()) {
    taken.push_back(signal->si_value.sival_int);
  }
  EXPECT_EQ(taken, sent);
}

TEST_F(SignalInboxTest, ReportsTheSenderOfASignal) {
  SignalInbox inbox = InboxFor({SIGUSR1});
  kill(getpid(), SIGUSR1);
  const absl::optional<siginfo_t> signal = inbox.TryTake();
  ASSERT_TRUE(signal);
  EXPECT_EQ(signal->si_pid, getpid());
  EXPECT_EQ(signal->si_code, SI_USER);
}

TEST_F(SignalInboxTest, ReturnsNothingIfNoSignalWaits) {
  SignalInbox inbox = InboxFor({SIGUSR1});
  EXPECT_FALSE(inbox.TryTake());
}

TEST_F(SignalInboxTest, LeavesOtherSignalsAlone) {
  SignalInbox inbox = InboxFor({SIGUSR1});
  raise(SIGUSR2);
  EXPECT_EQ(handled, 1);
  EXPECT_FALSE(inbox.TryTake());
}

TEST_F(SignalInboxTest, TakesASignalThatThisProcessIgnores) {
  std::signal(SIGUSR1, SIG_IGN);  // as nohup does for SIGHUP
  SignalInbox inbox = InboxFor({SIGUSR1});
  raise(SIGUSR1);
  EXPECT_TRUE(inbox.TryTake());
}

TEST_F(SignalInboxTest, IsReadableWhileASignalWaits) {
  SignalInbox inbox = InboxFor({SIGUSR1});
  EXPECT_FALSE(IsReadable(inbox.fd()));
  raise(SIGUSR1);
  EXPECT_TRUE(IsReadable(inbox.fd()));
  EXPECT_TRUE(inbox.TryTake());
  EXPECT_FALSE(IsReadable(inbox.fd()));
}

TEST_F(SignalInboxTest, DescriptorIsCloseOnExecAndNonBlocking) {
  SignalInbox inbox = InboxFor({SIGUSR1});
  EXPECT_EQ(fcntl(inbox.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(fcntl(inbox.fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(SignalInboxTest, UnblocksOnlyWhatItBlocked) {
  SetBlocked(SIGUSR2, true);
  {
    SignalInbox inbox = InboxFor({SIGUSR1, SIGUSR2});
    EXPECT_TRUE(IsBlocked(SIGUSR1));
  }
  EXPECT_FALSE(IsBlocked(SIGUSR1));
  EXPECT_TRUE(IsBlocked(SIGUSR2));
  SetBlocked(SIGUSR2, false);
}

TEST_F(SignalInboxTest, DeliversNoSignalAfterDestruction) {
  {
    SignalInbox inbox = InboxFor({SIGUSR1, SIGTERM});
    raise(SIGUSR1);
    raise(SIGTERM);  // would end this process
  }
  EXPECT_EQ(handled, 0);
}

TEST_F(SignalInboxTest, UnblocksOnceAfterAMove) {
  SignalInbox first = InboxFor({SIGUSR1});
  {
    SignalInbox second = std::move(first);
    raise(SIGUSR1);
    EXPECT_TRUE(second.TryTake());
  }
  EXPECT_FALSE(IsBlocked(SIGUSR1));
  SetBlocked(SIGUSR1, true);
  { SignalInbox third = std::move(first); }  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(IsBlocked(SIGUSR1));
  SetBlocked(SIGUSR1, false);
}

}  // namespace
}  // namespace brood::proc

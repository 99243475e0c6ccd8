// SPDX-License-Identifier: Apache-2.0

#include "brood/server/status/scoreboard.h"

#include <csignal>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Slot = Slot;

const net::Instant kNow = net::Instant() + std::chrono::hours(1000);

// Returns a connection without a socket: no byte is read or written here.
net::Connection ConnectionFrom(int port) {
  return net::Connection(
      net::UniqueFd(),
      net::Endpoint::Parse(absl::StrCat("192.0.2.1:", port))->ToAddress(),
      net::Endpoint::Parse("127.0.0.1:7000")->ToAddress(),
      net::After(kNow, absl::Seconds(port)));
}

proc::ExitStatus Exited(int code) {
  return proc::ExitStatus::FromWait(W_EXITCODE(code, 0), rusage());
}

proc::ExitStatus KilledBy(int signal) {
  return proc::ExitStatus::FromWait(W_EXITCODE(0, signal), rusage());
}

proc::ExitStatus DumpedCoreBy(int signal) {
  return proc::ExitStatus::FromWait(W_EXITCODE(0, signal) | WCOREFLAG,
                                    rusage());
}

std::map<Slot, pid_t> LiveOf(const Scoreboard& scoreboard) {
  std::map<Slot, pid_t> live;
  scoreboard.ForEachLive([&live](Slot slot, const Scoreboard::Entry& entry) {
    EXPECT_TRUE(live.emplace(slot, entry.pid).second);
  });
  return live;
}

// Returns the totals after the only child of a server has ended with `status`.
Totals TotalsAfter(const proc::ExitStatus& status,
                   bool signalled_by_us = false) {
  Scoreboard scoreboard(1);
  const Slot slot = scoreboard.Claim(ConnectionFrom(1));
  scoreboard.Started(slot, 4711, net::Now());
  if (signalled_by_us) scoreboard.Signalled(slot, KillReason::kStop);
  scoreboard.Retire(slot, status);
  EXPECT_EQ(scoreboard.totals().accepted, 1u);
  EXPECT_EQ(scoreboard.running(), 0u);
  // So the field that the caller compares is the only one that counts the
  // connection.
  EXPECT_TRUE(scoreboard.totals().Balanced());
  return scoreboard.totals();
}

uint64_t SumOfCrashes(const Totals& totals) {
  return std::accumulate(totals.crashed_by.begin(), totals.crashed_by.end(),
                         uint64_t{0});
}

TEST(TotalsTest, BalanceWithEveryOutcomeAndWithNothingElse) {
  for (uint64_t Totals::*outcome :
       {&Totals::running, &Totals::ended_ok, &Totals::ended_error,
        &Totals::crashed, &Totals::killed, &Totals::unknown, &Totals::shed,
        &Totals::fork_failed}) {
    Totals totals;
    totals.crashed_by.fill(1);  // already in `crashed`
    totals.*outcome = 1;
    EXPECT_FALSE(totals.Balanced());
    totals.accepted = 1;
    EXPECT_TRUE(totals.Balanced());
  }
}

TEST(ScoreboardTest, IsEmptyAndBalancedAtFirst) {
  const Scoreboard scoreboard(10);
  EXPECT_EQ(scoreboard.totals().accepted, 0u);
  EXPECT_EQ(scoreboard.running(), 0u);
  EXPECT_TRUE(scoreboard.totals().Balanced());
  EXPECT_THAT(LiveOf(scoreboard), IsEmpty());
}

TEST(ScoreboardTest, CountsExitCodeZeroAsEndedOk) {
  EXPECT_EQ(TotalsAfter(Exited(0)).ended_ok, 1u);
}

TEST(ScoreboardTest, CountsEveryOtherExitCodeAsEndedError) {
  for (int code = 1; code < 256; ++code) {
    EXPECT_EQ(TotalsAfter(Exited(code)).ended_error, 1u) << "for " << code;
  }
}

TEST(ScoreboardTest, CountsACrashOnceAndUnderItsSignal) {
  for (int signal = 1; signal < NSIG; ++signal) {
    for (const proc::ExitStatus& status :
         {KilledBy(signal), DumpedCoreBy(signal)}) {
      const Totals totals = TotalsAfter(status);
      EXPECT_EQ(totals.crashed, 1u) << "for " << signal;
      EXPECT_EQ(totals.crashed_by[static_cast<size_t>(signal)], 1u);
      EXPECT_EQ(SumOfCrashes(totals), 1u);
    }
  }
}

TEST(ScoreboardTest, CountsAChildAsKilledOnlyIfItWasSignalledByUs) {
  const Totals ours = TotalsAfter(KilledBy(SIGKILL), /*signalled_by_us=*/true);
  EXPECT_EQ(ours.killed, 1u);
  EXPECT_EQ(SumOfCrashes(ours), 0u);
  EXPECT_EQ(TotalsAfter(KilledBy(SIGKILL)).crashed, 1u);
}

TEST(ScoreboardTest, BelievesTheExitCodeOfAChildThatWasSignalledByUs) {
  EXPECT_EQ(TotalsAfter(Exited(0), /*signalled_by_us=*/true).ended_ok, 1u);
  EXPECT_EQ(TotalsAfter(Exited(1), /*signalled_by_us=*/true).ended_error, 1u);
}

TEST(ScoreboardTest, CountsALostStatusAsUnknownEvenIfItWasSignalled) {
  EXPECT_EQ(TotalsAfter(proc::ExitStatus::Unknown()).unknown, 1u);
  EXPECT_EQ(TotalsAfter(proc::ExitStatus::Unknown(), true).unknown, 1u);
}

TEST(ScoreboardTest, CountsAConnectionWithoutAProcessAsForkFailed) {
  Scoreboard scoreboard(1);
  scoreboard.RetireForkFailed(scoreboard.Claim(ConnectionFrom(1)));
  EXPECT_EQ(scoreboard.totals().fork_failed, 1u);
  EXPECT_EQ(scoreboard.running(), 0u);
  EXPECT_TRUE(scoreboard.totals().Balanced());
}

TEST(ScoreboardTest, RecordsThePeerAndTheTimeOfAccept) {
  Scoreboard scoreboard(2);
  const net::Connection connection = ConnectionFrom(7);
  const Slot slot = scoreboard.Claim(connection);
  scoreboard.Claim(ConnectionFrom(8));
  EXPECT_EQ(scoreboard.entry(slot).peer, connection.peer());
  EXPECT_EQ(scoreboard.entry(slot).accepted_at, connection.accepted_at());
  EXPECT_EQ(scoreboard.entry(slot).pid, 0);
  EXPECT_FALSE(scoreboard.entry(slot).signalled_by_us);
}

TEST(ScoreboardTest, HasASlotForEachConnectionUpToTheCap) {
  Scoreboard scoreboard(100);
  std::set<Slot> slots;
  for (int port = 0; port < 100; ++port) {
    EXPECT_TRUE(slots.insert(scoreboard.Claim(ConnectionFrom(port))).second);
  }
  EXPECT_EQ(*slots.rbegin(), 99u);
  EXPECT_EQ(scoreboard.running(), 100u);
}

TEST(ScoreboardTest, ClaimsTheSlotThatWasFreedLastWithoutItsOldRecord) {
  Scoreboard scoreboard(3);
  const Slot first = scoreboard.Claim(ConnectionFrom(1));
  const Slot second = scoreboard.Claim(ConnectionFrom(2));
  scoreboard.Started(first, 101, net::Now());
  scoreboard.Started(second, 102, net::Now());
  scoreboard.Signalled(first, KillReason::kStop);
  scoreboard.Retire(first, KilledBy(SIGTERM));

  ASSERT_EQ(scoreboard.Claim(ConnectionFrom(3)), first);
  EXPECT_EQ(scoreboard.entry(first).peer, ConnectionFrom(3).peer());
  EXPECT_EQ(scoreboard.entry(first).pid, 0);
  scoreboard.Started(first, 103, net::Now());
  scoreboard.Retire(first, KilledBy(SIGTERM));
  EXPECT_EQ(scoreboard.totals().killed, 1u);
  EXPECT_EQ(scoreboard.totals().crashed, 1u);
}

TEST(ScoreboardTest, VisitsExactlyTheSlotsThatHaveAProcess) {
  Scoreboard scoreboard(5);
  const Slot alive = scoreboard.Claim(ConnectionFrom(1));
  const Slot ended = scoreboard.Claim(ConnectionFrom(2));
  const Slot not_yet_forked = scoreboard.Claim(ConnectionFrom(3));
  const Slot late = scoreboard.Claim(ConnectionFrom(4));
  scoreboard.Started(alive, 101, net::Now());
  scoreboard.Started(ended, 102, net::Now());
  scoreboard.Started(late, 104, net::Now());
  scoreboard.Retire(ended, Exited(0));
  EXPECT_THAT(LiveOf(scoreboard),
              UnorderedElementsAre(Pair(alive, 101), Pair(late, 104)));
  scoreboard.RetireForkFailed(not_yet_forked);
  scoreboard.Retire(alive, Exited(0));
  EXPECT_THAT(LiveOf(scoreboard), ElementsAre(Pair(late, 104)));
}

// RandomLife does what a supervisor may do, in a random order, and counts the
// outcomes in another way: by their names.
class RandomLife {
 public:
  void Do() {
    const int choice = Any(6);
    if (choice < 2 && claimed_.size() + live_.size() < kCap) {
      const Slot slot = scoreboard_.Claim(ConnectionFrom(Any(65536)));
      ASSERT_TRUE(live_.count(slot) == 0 && claimed_.insert(slot).second);
      ++accepted_;
    } else if (choice == 2 && !claimed_.empty()) {
      const Slot slot = TakeClaimed();
      scoreboard_.Started(slot, ++last_pid_, net::Now());
      live_[slot] = last_pid_;
      signalled_.erase(slot);
    } else if (choice == 3 && !claimed_.empty() && Any(4) == 0) {
      scoreboard_.RetireForkFailed(TakeClaimed());
      ++outcomes_["fork_failed"];
    } else if (choice == 4 && !live_.empty()) {
      const Slot slot = AnyLive();
      scoreboard_.Signalled(slot, KillReason::kStop);
      signalled_.insert(slot);
    } else if (choice == 5 && !live_.empty()) {
      End(AnyLive());
    }
  }

  void Check() {
    const Totals& totals = scoreboard_.totals();
    ASSERT_TRUE(totals.Balanced());
    ASSERT_EQ(totals.accepted, accepted_);
    ASSERT_EQ(totals.running, claimed_.size() + live_.size());
    ASSERT_EQ(totals.ended_ok, outcomes_["ended_ok"]);
    ASSERT_EQ(totals.ended_error, outcomes_["ended_error"]);
    ASSERT_EQ(totals.crashed, outcomes_["crashed"]);
    ASSERT_EQ(totals.killed, outcomes_["killed"]);
    ASSERT_EQ(totals.unknown, outcomes_["unknown"]);
    ASSERT_EQ(totals.shed, 0u);
    ASSERT_EQ(totals.fork_failed, outcomes_["fork_failed"]);
    ASSERT_EQ(SumOfCrashes(totals), totals.crashed);
    ASSERT_EQ(LiveOf(scoreboard_), live_);
  }

  // Expects that each outcome occurred, so that Check() has not compared zeros
  // alone.
  void ExpectEveryOutcomeSeen() {
    for (const char* outcome : {"ended_ok", "ended_error", "crashed", "killed",
                                "unknown", "fork_failed"}) {
      EXPECT_GT(outcomes_[outcome], 20u) << "for " << outcome;
    }
  }

 private:
  static constexpr size_t kCap = 20;

  void End(Slot slot) {
    const int how = Any(4);
    if (how == 0) {
      scoreboard_.Retire(slot, Exited(0));
      ++outcomes_["ended_ok"];
    } else if (how == 1) {
      scoreboard_.Retire(slot, Exited(1 + Any(255)));
      ++outcomes_["ended_error"];
    } else if (how == 2) {
      scoreboard_.Retire(slot, KilledBy(1 + Any(NSIG - 1)));
      ++outcomes_[signalled_.count(slot) > 0 ? "killed" : "crashed"];
    } else {
      scoreboard_.Retire(slot, proc::ExitStatus::Unknown());
      ++outcomes_["unknown"];
    }
    live_.erase(slot);
  }

  Slot TakeClaimed() {
    const Slot slot =
        *std::next(claimed_.begin(), Any(static_cast<int>(claimed_.size())));
    claimed_.erase(slot);
    return slot;
  }
  Slot AnyLive() {
    return std::next(live_.begin(), Any(static_cast<int>(live_.size())))->first;
  }
  int Any(int count) {
    return static_cast<int>(random_() % static_cast<unsigned>(count));
  }

  std::mt19937 random_{20261122};
  Scoreboard scoreboard_{kCap};
  std::set<Slot> claimed_;
  std::map<Slot, pid_t> live_;
  std::set<Slot> signalled_;
  pid_t last_pid_ = 1000;
  uint64_t accepted_ = 0;
  std::map<std::string, uint64_t> outcomes_;
};

TEST(ScoreboardTest, StaysBalancedThroughTenThousandRandomOperations) {
  RandomLife life;
  for (int operation = 0; operation < 10000; ++operation) {
    ASSERT_NO_FATAL_FAILURE(life.Do()) << "in operation " << operation;
    ASSERT_NO_FATAL_FAILURE(life.Check()) << "after operation " << operation;
  }
  life.ExpectEveryOutcomeSeen();
}

}  // namespace
}  // namespace brood::server

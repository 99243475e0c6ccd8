// SPDX-License-Identifier: Apache-2.0

// Storms: processes of a busy server are killed, stopped and continued, and the
// program is upgraded, at random. The test prints the seed, which repeats a
// storm.
//
//   STORM_SEED=17    the first seed, instead of 1
//   STORM_SEEDS=20   how many seeds, one after the other, for each strategy
//   STORM_SECONDS=4  how long each storm lasts
//
// In each storm every generation of the program ends with exit code 0 and
// balanced totals, and only clients whose process was killed fail.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/load_clients.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// Returns the number in an environment variable, or `usual` if it is not set.
int64_t NumberFromEnvironment(const char* variable, int64_t usual) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? usual : std::atoll(text);
}

// Returns how many connections had this outcome in all generations together.
int64_t SumOf(const char* outcome, const std::string& log) {
  int64_t sum = 0;
  for (const LoggedEvent& stopped : EventsOf(log, "stopped")) {
    sum += stopped.Number(absl::StrCat("brood.", outcome));
  }
  return sum;
}

// One storm over one server. The seed decides what is done, in which order and
// at what intervals. Which process is hit also depends on which processes
// exist.
class Storm {
 public:
  Storm(uint64_t seed, ServerProgram* server)
      : random_(seed), server_(server) {}

  void Rage(absl::Duration length) {
    const net::Instant end = net::After(net::Now(), length);
    while (net::Now() < end) {
      Act();
      LetPass(absl::Microseconds(Random(10000)));
      server_->FollowLog();
    }
    ContinueAll();
  }

  int kills() const { return kills_; }

 private:
  int64_t Random(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }

  void Act() {
    const int64_t what = Random(100);
    const int64_t whom = Random(1000);
    if (what < 40) {
      Kill(whom);
    } else if (what < 60) {
      Stop(whom);
    } else if (what < 80) {
      ContinueAll();
    } else if (what < 84) {
      server_->Signal(what % 2 == 0 ? SIGUSR2 : SIGHUP);
    } else if (what < 88) {
      server_->Signal(SIGSTOP);
      LetPass(absl::Milliseconds(Random(20)));
      server_->Signal(SIGCONT);
    } else if (what < 94) {
      server_->Signal(SIGCHLD);  // without any child that has ended
    }
  }

  // Returns a child of the generation that serves: one with a connection, a
  // spare, a worker, the zygote or its standby. Never the next generation.
  absl::optional<pid_t> Victim(int64_t whom) {
    // Lists the children before it reads the log, so that the log has every new
    // generation among them.
    const std::vector<pid_t> children =
        ChildrenOf(absl::StrCat(server_->pid()));
    server_->FollowLog();
    std::vector<pid_t> candidates;
    for (pid_t child : children) {
      if (server_->started().count(child) == 0) candidates.push_back(child);
    }
    if (candidates.empty()) return absl::nullopt;
    return candidates[static_cast<size_t>(whom) % candidates.size()];
  }

  void Kill(int64_t whom) {
    const absl::optional<pid_t> victim = Victim(whom);
    if (victim && kill(*victim, SIGKILL) == 0) ++kills_;
  }

  void Stop(int64_t whom) {
    const absl::optional<pid_t> victim = Victim(whom);
    if (!victim) return;
    kill(*victim, SIGSTOP);
    stopped_.push_back(*victim);
  }

  void ContinueAll() {
    for (pid_t pid : stopped_) kill(pid, SIGCONT);
    stopped_.clear();
  }

  std::mt19937_64 random_;
  ServerProgram* const server_;
  std::vector<pid_t> stopped_;
  int kills_ = 0;
};

class StormTest : public LeakCheck,
                  public ::testing::WithParamInterface<StrategyRow> {
 protected:
  static std::unique_ptr<ServerProgram> Start() {
    auto server = ServerProgram::Start(
        {ServerProgram::Path(), absl::StrCat("--strategy=", GetParam().name()),
         "--workers=4", "--max_connections=50"});
    if (!server.ok()) throw std::runtime_error(server.status().ToString());
    return *std::move(server);
  }
};

TEST_P(StormTest, EndsWithBalancedTotalsAndFailsOnlyClientsOfKilledProcesses) {
  const auto length = absl::Seconds(NumberFromEnvironment("STORM_SECONDS", 4));
  const auto first_seed =
      static_cast<uint64_t>(NumberFromEnvironment("STORM_SEED", /*usual=*/1));
  const auto seeds =
      static_cast<uint64_t>(NumberFromEnvironment("STORM_SEEDS", 1));
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("STORM_SEED=", seed));
    const auto server = Start();
    Storm storm(seed, server.get());
    LoadClients clients(server->endpoint(), /*clients=*/4);
    storm.Rage(length);
    clients.Stop();
    EXPECT_THAT(server->Stop(), IsOk());
    const std::string& log = server->log().All();
    const int64_t killed = SumOf("crashed", log) + SumOf("killed", log);
    EXPECT_LE(clients.failed(), killed) << clients.first_failure() << "\n"
                                        << log;
    EXPECT_LE(killed, storm.kills()) << log;
    EXPECT_EQ(SumOf("unknown", log) + SumOf("fork_failed", log), 0) << log;
    EXPECT_GT(clients.served(), 0);
    std::printf(
        "%s, STORM_SEED=%llu: %d killed, %zu generations, %d clients served, "
        "%d failed\n",
        GetParam().name().c_str(), static_cast<unsigned long long>(seed),
        storm.kills(), server->generations().size(), clients.served(),
        clients.failed());
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Over, StormTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing

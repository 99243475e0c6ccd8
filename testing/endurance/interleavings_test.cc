// SPDX-License-Identifier: Apache-2.0

// Rare interleavings: at each sync point of a server two events happen at once
// that usually happen elsewhere. Whichever events: the server ends with
// balanced totals and leaves nothing behind, and only clients of killed
// children fail.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/proc/sync_point.h"
#include "brood/server/control/request_signals.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/shared.h"
#include "brood/testing/support/subreaper.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

enum class Event { kChildDies, kStop, kUpgrade, kDeadline };
using Pair = std::pair<Event, Event>;

constexpr Pair kPairs[] = {
    {Event::kChildDies, Event::kStop},     {Event::kUpgrade, Event::kChildDies},
    {Event::kChildDies, Event::kDeadline}, {Event::kUpgrade, Event::kStop},
    {Event::kDeadline, Event::kStop},      {Event::kDeadline, Event::kUpgrade},
};

const char* NameOf(Event event) {
  switch (event) {
    case Event::kChildDies:
      return "a child dies";
    case Event::kStop:
      return "SIGTERM";
    case Event::kUpgrade:
      return "SIGUSR2";
    case Event::kDeadline:
      return "the deadline passes";
  }
  return "?";
}

struct Place {
  const char* strategy;
  const char* point;
};

std::ostream& operator<<(std::ostream& stream, const Place& place) {
  return stream << place.strategy << ", " << place.point;
}

constexpr Place kPlaces[] = {
    {"fork", "supervisor: about to poll"},
    {"fork", "supervisor: requests taken"},
    {"fork", "supervisor: about to reap"},
    {"fork", "supervisor: deadline over"},
    {"fork", "supervisor: about to terminate"},
    {"fork", "supervisor: accepted"},
    {"fork", "supervisor: about to dispatch"},
    {"fork", "supervisor: dispatched"},
    {"fork", "supervisor: about to retire"},
    {"fork", "supervisor: about to close a listener"},
    {"fork", "spawn: about to clone"},
    {"fork", "spawn: cloned"},
    {"fork", "spawn: started"},
    {"fork", "reaper: about to adopt"},
    {"fork", "reaper: notice taken"},
    {"fork", "reaper: reaped"},
    {"fork", "child: about to serve"},
    {"fork", "child: served"},
    {"fork", "upgrade: started"},
    {"fork", "upgrade: ready"},
    {"fork", "upgrade: about to hand over"},
    {"spares", "spawn: cloned"},
    {"spares", "worker set: offered"},
    {"spares", "worker set: worker sees a message"},
    {"spares", "spares: acknowledged"},
    {"spares", "reaper: reaped"},
    {"spares", "upgrade: about to hand over"},
    {"pool", "spawn: cloned"},
    {"pool", "worker set: offered"},
    {"pool", "worker set: worker sees a message"},
    {"pool", "pool: acknowledged"},
    {"pool", "pool: reported"},
    {"pool", "reaper: reaped"},
    {"zygote", "zygote: offered"},
    {"zygote", "spawn: about to clone a sibling"},
    {"zygote", "spawn: cloned a sibling"},
    {"zygote", "zygote: about to acknowledge"},
    {"zygote", "zygote: about to read records"},
    {"zygote", "spawn: started"},
    {"zygote", "reaper: reaped"},
};

constexpr absl::Duration kTimeout = absl::Milliseconds(60);

// What the hook does, in the server process and in its children.
struct Plan {
  const char* point;
  Pair events;
  pid_t server;
  std::atomic<bool> armed;
};
Plan* plan = nullptr;

// Returns the newest child of `pid`, or the oldest one if the newest may be the
// next program; 0 if there is none.
pid_t AChildOf(pid_t pid) {
  const std::vector<pid_t> children = ChildrenOf(absl::StrCat(pid));
  if (children.empty()) return 0;
  const bool upgrades = std::strncmp(plan->point, "upgrade", 7) == 0;
  return upgrades ? children.front() : children.back();
}

void MakeHappen(Event event) {
  switch (event) {
    case Event::kChildDies: {
      const pid_t self = getpid();
      const pid_t victim = self == plan->server ? AChildOf(self) : self;
      if (victim == 0) return;
      kill(victim, SIGKILL);
      siginfo_t dead;
      waitid(P_PID, static_cast<id_t>(victim), &dead,
             WEXITED | WNOWAIT | __WALL);
      return;
    }
    case Event::kStop:
      kill(plan->server, SIGTERM);
      return;
    case Event::kUpgrade:
      kill(plan->server, SIGUSR2);
      return;
    case Event::kDeadline:
      LetPass(kTimeout + absl::Milliseconds(10));
      return;
  }
}

void AtSyncPoint(const char* name) {
  if (std::strcmp(name, plan->point) != 0 || !plan->armed.exchange(false)) {
    return;
  }
  // A child makes the event last that ends it.
  const bool ends_a_child = plan->events.first == Event::kChildDies ||
                            plan->events.first == Event::kDeadline;
  const bool swap = ends_a_child && getpid() != plan->server;
  MakeHappen(swap ? plan->events.second : plan->events.first);
  MakeHappen(swap ? plan->events.first : plan->events.second);
}

class InterleavingsTest : public ServerTest,
                          public ::testing::WithParamInterface<Place> {
 protected:
  static bool Has(const Pair& events, Event event) {
    return events.first == event || events.second == event;
  }
  // Reports whether the name of the point contains `text`.
  static bool PointIs(const char* text) {
    return absl::StrContains(GetParam().point, text);
  }

  TestServer::Setup SetupFor(const Pair& events);
  void BeAClient(TestServer& server);
  void Live(const Pair& events);
  void EndNewPrograms(const TestServer::Report& report);

  int failed_ = 0;
  absl::Status first_failure_;

 private:
  const Subreaper subreaper_;
};

// Reports whether `log` has an event called `name` with each of `fields`.
bool HasEvent(absl::string_view log, absl::string_view name,
              const LoggedEvent::Fields& fields = {}) {
  return !EventsOf(log, name, fields).empty();
}

TestServer::Setup InterleavingsTest::SetupFor(const Pair& events) {
  TestServer::Setup setup;
  setup.options.strategy = *server::ParseStrategyKind(GetParam().strategy);
  setup.options.spares.min = 2;
  setup.options.pool.workers = 3;
  setup.options.drain_grace =
      absl::Milliseconds(PointIs("terminate") ? 10 : 5000);
  // At the end of the grace the event kDeadline is only a delay: no deadline is
  // set.
  if ((Has(events, Event::kDeadline) || PointIs("deadline")) &&
      !PointIs("terminate")) {
    setup.options.deadlines.connection = kTimeout;
  }
  setup.options.upgrade.command = {ServerProgram::Path(),
                                   "--listen=127.0.0.1:0",
                                   "--log_level=warning", "--log_format=json"};
  setup.before = [] {
    // As main() does.
    EXPECT_THAT(server::RequestSignals::BlockAlone(), IsOk());
    plan->server = getpid();
    proc::SetSyncPointHook(AtSyncPoint);
  };
  return setup;
}

void InterleavingsTest::BeAClient(TestServer& server) {
  absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
  absl::Status served = client.status();
  if (served.ok()) served = client->Echo("hello");
  if (served.ok()) return;
  ++failed_;
  first_failure_.Update(served);
}

void InterleavingsTest::Live(const Pair& events) {
  SCOPED_TRACE(absl::StrCat(NameOf(events.first), ", ", NameOf(events.second)));
  failed_ = 0;
  first_failure_ = absl::OkStatus();
  Shared<Plan> shared;
  plan = &*shared;
  plan->point = GetParam().point;
  plan->events = events;
  plan->armed = true;

  const auto server = StartServer(SetupFor(events));
  // Waits until the processes that are created ahead exist, or the events have
  // happened.
  const std::string strategy = GetParam().strategy;
  const size_t ahead = strategy == "spares" ? 2 : strategy == "pool" ? 3 : 0;
  EXPECT_TRUE(Await(
      [&] { return server->children().size() >= ahead || !plan->armed; }));
  if (PointIs("upgrade")) kill(server->pid(), SIGUSR2);
  {
    absl::StatusOr<TestClient> held = TestClient::Connect(server->endpoint());
    if (held.ok()) held->Echo("held").IgnoreError();
    for (int i = 0; i < 3; ++i) BeAClient(*server);
    if (PointIs("terminate") || PointIs("deadline")) {
      kill(server->pid(), SIGTERM);
      if (held.ok()) held->ReadUntilEof().IgnoreError();
    }
  }
  // Waits until the upgrade has succeeded or failed. (Some points are reached
  // only when the server stops.)
  if ((Has(events, Event::kUpgrade) && !plan->armed) || PointIs("upgrade")) {
    EXPECT_TRUE(Await([&] {
      const std::string log = server->log();
      return HasEvent(log, "upgrade-completed") ||
             HasEvent(log, "upgrade-failed") ||
             HasEvent(log, "upgrade-ignored") || HasEvent(log, "stopped");
    })) << server->log();
    BeAClient(*server);
  }
  kill(server->pid(), SIGTERM);
  const TestServer::Report report = server->AwaitExit();
  EXPECT_FALSE(plan->armed) << "no process reached the point:\n" << report.log;

  EndNewPrograms(report);
  ExpectClean(report);
  const server::Totals& totals = report.totals;
  const bool was_stopped =
      Has(events, Event::kStop) || PointIs("terminate") || PointIs("deadline");
  // A new program that is killed just after it was ready may have accepted one
  // client that has no child yet. Others wait in the queue, or have a child.
  bool new_program_killed = false;
  for (const LoggedEvent& ready : EventsOf(report.log, "upgrade-ready")) {
    const int64_t pid = ready.Number("brood.child.pid");
    new_program_killed |=
        HasEvent(report.log, "upgrade-failed", {{"brood.child.pid", pid}});
  }
  if (!was_stopped) {
    EXPECT_LE(failed_, totals.crashed + totals.killed + new_program_killed)
        << first_failure_ << "\n"
        << report.log;
  }
  const bool may_crash = Has(events, Event::kChildDies);
  EXPECT_LE(totals.crashed, may_crash ? 1u : 0u) << report.log;
  EXPECT_EQ(totals.unknown + totals.fork_failed, 0u) << report.log;
}

// Ends the new programs: they are orphans, which this process has adopted.
void InterleavingsTest::EndNewPrograms(const TestServer::Report& report) {
  for (const LoggedEvent& started : EventsOf(report.log, "upgrade-started")) {
    kill(static_cast<pid_t>(started.Number("brood.child.pid")), SIGTERM);
  }
  while (waitpid(-1, nullptr, __WALL) > 0) {
  }
}

TEST_P(InterleavingsTest, ServesOnAfterEachPairOfEvents) {
  if (!proc::kSyncPoints) GTEST_SKIP() << "an optimized build has no points";
  for (const Pair& events : kPairs) Live(events);
}

INSTANTIATE_TEST_SUITE_P(At, InterleavingsTest, ::testing::ValuesIn(kPlaces),
                         [](const auto& info) {
                           std::string name = absl::StrCat(
                               info.param.strategy, "_", info.param.point);
                           for (char& c : name)
                             c = absl::ascii_isalnum(c) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/strategies.h"

#include <utility>

#include "absl/status/statusor.h"
#include "brood/net/instant.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"

namespace brood::testing {
namespace {

using server::Options;

size_t None(const Options& /*options*/, size_t /*busy*/) { return 0; }
size_t NoneAtMost(const Options& /*options*/) { return 0; }

size_t MinSpares(const Options& options, size_t /*busy*/) {
  return static_cast<size_t>(options.spares.min);
}
// Spares that are ending are still there while their successors start.
size_t MaxSpares(const Options& options) {
  return 2 * static_cast<size_t>(options.spares.max);
}

size_t WorkersNotBusy(const Options& options, size_t busy) {
  return options.Capacity() - busy;
}
size_t AllWorkers(const Options& options) { return options.Capacity(); }

// The zygote and its standby.
size_t ZygoteAndStandby(const Options& /*options*/, size_t /*busy*/) {
  return 2;
}
size_t TwoAtMost(const Options& /*options*/) { return 2; }

}  // namespace

const std::vector<StrategyRow>& Strategies() {
  static auto* const rows = new std::vector<StrategyRow>{
      {server::StrategyKind::kFork,
       /*one_each=*/true,
       /*made_after_accept=*/true,
       /*forks_itself=*/true,
       /*refuses_threads=*/true,
       /*waiting=*/None,
       /*most_waiting=*/NoneAtMost,
       /*own_descriptors=*/0,
       /*own_lines=*/0},
      {server::StrategyKind::kSpares,
       /*one_each=*/true,
       /*made_after_accept=*/false,
       /*forks_itself=*/true,
       /*refuses_threads=*/true,
       /*waiting=*/MinSpares,
       /*most_waiting=*/MaxSpares,
       /*own_descriptors=*/0,
       /*own_lines=*/0},
      {server::StrategyKind::kPool,
       /*one_each=*/false,
       /*made_after_accept=*/false,
       /*forks_itself=*/true,
       /*refuses_threads=*/true,
       /*waiting=*/WorkersNotBusy,
       /*most_waiting=*/AllWorkers,
       /*own_descriptors=*/4,
       /*own_lines=*/0},
      {server::StrategyKind::kZygote,
       /*one_each=*/true,
       /*made_after_accept=*/true,
       /*forks_itself=*/false,
       /*refuses_threads=*/false,
       /*waiting=*/ZygoteAndStandby,
       /*most_waiting=*/TwoAtMost,
       /*own_descriptors=*/0,
       /*own_lines=*/1},
      // In tests, which are small and single-threaded, it chooses "fork".
      {server::StrategyKind::kAuto,
       /*one_each=*/true,
       /*made_after_accept=*/true,
       /*forks_itself=*/true,
       /*refuses_threads=*/false,
       /*waiting=*/None,
       /*most_waiting=*/TwoAtMost,
       /*own_descriptors=*/0,
       /*own_lines=*/1},
  };
  // Under a sanitizer a program is so large that "auto" does not choose "fork".
  static const bool sanitized = kCostOfFork > 1;
  if (sanitized && rows->back().strategy == server::StrategyKind::kAuto)
    rows->pop_back();
  return *rows;
}

std::ostream& operator<<(std::ostream& stream, const StrategyRow& row) {
  return stream << row.name();
}

std::unique_ptr<TestServer> StrategyTest::StartServer(TestServer::Setup setup) {
  setup.options.strategy = row().strategy;
  return ServerTest::StartServer(std::move(setup));
}

size_t StrategyTest::ChildrenAtRest(const TestServer& server, size_t busy) {
  return busy + row().waiting(server.options(), busy);
}

void StrategyTest::ExpectRest(const TestServer& server, size_t busy) {
  const size_t expected = ChildrenAtRest(server, busy);
  EXPECT_TRUE(Await([&] {
    return server.children().size() == expected && server.zombies().empty();
  })) << "the server has "
      << server.children().size() << " children and " << server.zombies().size()
      << " zombies, not " << expected;
  // A child exists before its fork has returned in the parent.
  AwaitIdle(server.pid());
}

absl::Duration StrategyTest::TimeToReap(const TestServer& server) {
  const size_t may_wait = row().most_waiting(server.options());
  const net::Instant start = net::Now();
  EXPECT_TRUE(Await([&] {
    return server.zombies().empty() && server.children().size() <= may_wait;
  }));
  return absl::FromChrono(net::Now() - start);
}

std::vector<pid_t> StrategyTest::AwaitServing(TestServer& server, int count) {
  std::vector<pid_t> pids;
  const bool all = Await([&] {
    for (const char* name : {"forked", "assigned"}) {
      while (static_cast<int>(pids.size()) < count) {
        const absl::StatusOr<LoggedEvent> event =
            server.AwaitEvent(name, absl::ZeroDuration());
        if (!event.ok()) break;
        pids.push_back(static_cast<pid_t>(event->Number("brood.child.pid")));
      }
    }
    return static_cast<int>(pids.size()) == count;
  });
  EXPECT_TRUE(all) << server.log();
  return pids;
}

std::vector<LoggedEvent> StrategyTest::ServingEvents(absl::string_view log) {
  std::vector<LoggedEvent> serving;
  for (const LoggedEvent& event : EventsOf(log, "")) {
    if (event.name() == "forked" || event.name() == "assigned") {
      serving.push_back(event);
    }
  }
  return serving;
}

}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

// Every call site of the parent fails: the server recovers, or ends with a
// message.
//
// The table finds the sites, and runs without a fault show which of them the
// parent runs. Each of these sites then fails in a scenario that runs it: by
// default once, with one error. With BROOD_FAULTS=all it fails with each error
// that the call documents, at several calls, once and permanently, and with one
// error in each other scenario that runs it (testing/syscalls/faults_all.sh). A
// site that no scenario runs must be in syscall_sites.txt, with the reason.
//
// With BROOD_FAULT_SITES=TEXT only sites whose names contain the text fail.

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/support/subreaper.h"
#include "brood/testing/support/zygote_log.h"
#include "brood/testing/syscalls/syscall_errors.h"
#include "brood/testing/syscalls/syscall_fault.h"
#include "brood/testing/syscalls/syscall_scenarios.h"
#include "brood/testing/syscalls/syscall_table.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// How often the parent, and other processes, have run a site in one scenario.
struct Runs {
  int64_t here, elsewhere;
};

class SyscallFaultsTest : public LeakCheck {
 protected:
  // Runs `scenario` with `fault`. Returns whether a call failed.
  bool Fail(const Scenario& scenario, const Fault& fault);
  // Runs `scenario` without a fault. Returns how often each site was run.
  std::map<std::string, Runs> RunWithoutFault(const Scenario& scenario);

  SyscallTable table_{{"brood::net", "brood::proc", "brood::server"}};
  const ShortDir dir_;
  const std::vector<Scenario> scenarios_ = Scenarios(dir_);

 private:
  struct Clients {
    int served = 0, rejected = 0, waiting = 0;
    // Whether the upgrade, if one was requested, has succeeded or failed.
    bool upgrade_has_ended = true;
  };

  void RunOnce(const Scenario& scenario, const absl::optional<Fault>& fault);
  void Talk(const Scenario& scenario, TestServer& server,
            absl::Duration timeout, Clients* clients);
  static void Ask(absl::StatusOr<TestClient>& client, Clients* clients);
  TestServer::Report Stop(const Scenario& scenario, TestServer& server,
                          absl::Duration timeout, Clients* clients);
  static void ExpectNoProcessLeft();
  const Subreaper subreaper_;
};

void SyscallFaultsTest::Ask(absl::StatusOr<TestClient>& client,
                            Clients* clients) {
  const absl::Status served =
      client.ok() ? client->Echo("hello") : client.status();
  if (served.ok()) {
    ++clients->served;
  } else if (absl::IsDeadlineExceeded(served)) {
    ++clients->waiting;
  } else {
    ++clients->rejected;
  }
}

void SyscallFaultsTest::Talk(const Scenario& scenario, TestServer& server,
                             absl::Duration timeout, Clients* clients) {
  const size_t listeners = server.options().listen.size();
  size_t next = 0;
  const auto connect = [&] {
    // If one client was not served in time, the others need not wait as long.
    return TestClient::Connect(
        server.endpoint(next++ % listeners),
        clients->waiting > 0 ? absl::Milliseconds(20) : timeout);
  };
  const auto one_after_the_other = [&](int count) {
    for (int i = 0; i < count; ++i) {
      auto client = connect();
      Ask(client, clients);
    }
  };
  one_after_the_other(3);
  if (scenario.kills_zygote) {
    const absl::StatusOr<pid_t> zygote = AwaitZygote(server, timeout);
    if (zygote.ok()) kill(*zygote, SIGKILL);
  }
  {
    std::vector<absl::StatusOr<TestClient>> together;
    for (int i = 0; i < 4; ++i) together.push_back(connect());
    for (auto& client : together) {
      Ask(client, clients);
      client = absl::CancelledError();  // there may be room for few clients
    }
  }
  auto silent = connect();
  if (silent.ok() && scenario.client_stalls) {
    silent->ReadUntilEof().status().IgnoreError();
  }
  silent = absl::CancelledError();
  one_after_the_other(2);
}

TestServer::Report SyscallFaultsTest::Stop(const Scenario& scenario,
                                           TestServer& server,
                                           absl::Duration timeout,
                                           Clients* clients) {
  if (scenario.upgrades) {
    server.Signal(SIGUSR2);
    const auto has_logged = [&](const char* name) {
      return server.AwaitEvent(name, absl::ZeroDuration()).ok();
    };
    clients->upgrade_has_ended = Await(
        [&] {
          return has_logged("upgrade-completed") ||
                 has_logged("upgrade-failed") || has_logged("upgrade-ignored");
        },
        timeout);
  }
  if (!scenario.client_stays) return server.Stop();
  auto staying = TestClient::Connect(server.endpoint(), absl::Seconds(1));
  if (staying.ok()) staying->Echo("hello").IgnoreError();
  server.Signal(SIGTERM);
  // If the server cannot end the client, the client leaves by itself.
  if (staying.ok()) staying->ReadUntilEof().status().IgnoreError();
  staying = absl::CancelledError();
  return server.AwaitExit();
}

// This process adopts the processes that the server process leaves behind.
void SyscallFaultsTest::ExpectNoProcessLeft() {
  siginfo_t info;
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0) {
    ADD_FAILURE() << "a process still runs without a server";
    kill(0, SIGCONT);
    if (waitpid(-1, nullptr, __WALL) < 0) break;
  }
}

void SyscallFaultsTest::RunOnce(const Scenario& scenario,
                                const absl::optional<Fault>& fault) {
  table_.Reset();
  for (const Scenario::Failure& failure : scenario.always_fail) {
    table_.Fail(failure.site, failure.error, /*first=*/1, failure.count);
  }
  if (fault) {
    table_.Fail(fault->site, fault->error, fault->first, fault->count);
  }
  const bool for_good = fault && fault->count != 1;
  TestServer::Setup setup;
  setup.options.drain_grace = absl::Milliseconds(for_good ? 300 : 5000);
  setup.may_leave_traces = true;  // depends on the fault; see below
  Kept kept = scenario.prepare(setup);
  setup.before = [this, before = setup.before] {
    if (before) before();
    // A signal that arrives after the server has ended must not end this
    // process.
    signal(SIGTERM, [](int) {});
    signal(SIGUSR2, [](int) {});
    table_.Arm();
  };
  // Whether the test can read warnings.
  const bool audible = setup.stderr_fd < 0 &&
                       setup.options.log.level <= server::LogLevel::kWarning;
  auto server = TestServer::Start(std::move(setup));
  kept.lent.clear();
  if (!server.ok()) {
    EXPECT_TRUE(scenario.refused ||
                (fault && NamesFault(server.status().message(), *fault)))
        << "Create: " << server.status();
    ExpectNoProcessLeft();
    return;
  }
  Clients clients;
  Talk(scenario, **server, absl::Milliseconds(for_good ? 200 : 5000), &clients);
  const TestServer::Report report =
      Stop(scenario, **server, absl::Seconds(for_good ? 1 : 10), &clients);
  const std::string events =
      absl::StrCat(report.run_status, "\n", FailuresIn(report.log));
  SCOPED_TRACE(report.log);
  EXPECT_TRUE(report.exit_status.exited()) << report.exit_status.ToString();
  EXPECT_TRUE(report.complete && report.balanced && report.totals.running == 0)
      << events;
  // A state that a failed call should have restored stays changed.
  if (!fault || (fault->call != "sigaction" && fault->call != "sigprocmask")) {
    EXPECT_EQ(absl::StrJoin(report.leaks, "\n"), "") << events;
  }
  if (!fault) {
    EXPECT_EQ(report.run_status, "OK") << events;
  } else if (report.run_status != "OK") {
    EXPECT_TRUE(NamesFault(events, *fault)) << events;
  } else if (!for_good) {
    EXPECT_EQ(clients.waiting, 0) << events;
    EXPECT_TRUE(clients.upgrade_has_ended || report.log_lines_dropped > 0)
        << events;
  }
  // On a busy machine other clients may seem to stall too: the log has events
  // about them as well.
  if (clients.served + static_cast<int>(report.totals.killed) < 8) {
    EXPECT_TRUE(fault && (!audible || NamesFault(events, *fault)))
        << clients.served << " served, " << clients.rejected << " rejected, "
        << clients.waiting << " waiting; events:\n"
        << events;
  }
  ExpectNoProcessLeft();
}

std::map<std::string, Runs> SyscallFaultsTest::RunWithoutFault(
    const Scenario& scenario) {
  RunOnce(scenario, absl::nullopt);
  std::map<std::string, Runs> runs;
  for (const auto& site : table_.sites()) {
    runs[site.name] = {table_.calls(site.name),
                       table_.calls_elsewhere(site.name)};
  }
  // These sites fail in any case.
  for (const Scenario::Failure& failure : scenario.always_fail) {
    runs.erase(failure.site);
  }
  return runs;
}

bool SyscallFaultsTest::Fail(const Scenario& scenario, const Fault& fault) {
  SCOPED_TRACE(absl::StrCat(scenario.name, ": ", fault.ToString()));
  RunOnce(scenario, fault);
  return table_.failed(fault.site) > 0;
}

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The sites that the parent does not run, from syscall_sites.txt.
struct Excused {
  std::set<std::string> children, perhaps;
};

Excused ReadExcused() {
  Excused excused;
  std::set<std::string>* group = nullptr;
  std::ifstream file("testing/syscalls/syscall_sites.txt");
  EXPECT_TRUE(file.good());
  for (std::string line; std::getline(file, line);) {
    absl::string_view name = line;
    if (absl::StartsWith(name, "child: ")) {
      group = &excused.children;
    } else if (absl::StartsWith(name, "perhaps: ")) {
      group = &excused.perhaps;
    } else if (absl::ConsumePrefix(&name, "  ")) {
      group->insert(std::string(name));
    }
  }
  return excused;
}

TEST_F(SyscallFaultsTest, ParentRecoversOrReportsEachFailedCall) {
#if defined(__OPTIMIZE__) || defined(ABSL_HAVE_ADDRESS_SANITIZER)
  GTEST_SKIP() << "with an optimizer the sites differ from the source";
#endif
  const bool all = FromEnvironment("BROOD_FAULTS") == "all";
  const std::string chosen = FromEnvironment("BROOD_FAULT_SITES");
  const Excused excused = ReadExcused();

  // The sites that each scenario runs.
  std::vector<std::map<std::string, Runs>> baselines;
  std::map<std::string, std::string> calls;
  for (const Scenario& scenario : scenarios_) {
    SCOPED_TRACE(scenario.name);
    baselines.push_back(RunWithoutFault(scenario));
    for (const auto& site : table_.sites()) {
      if (table_.calls(site.name) == 0) continue;
      const int64_t number = table_.number(site.name);
      calls[site.name] = number < 0 ? site.call : NameOfSyscall(number);
    }
  }
  ASSERT_FALSE(HasFailure()) << "without any fault";

  std::set<std::string> to_cover, covered;
  std::set<std::string> unknown = excused.children;
  unknown.insert(excused.perhaps.begin(), excused.perhaps.end());
  int64_t faults = 0;
  for (const auto& site : table_.sites()) {
    const std::string& name = site.name;
    unknown.erase(name);
    const bool is_run = calls.count(name) > 0;
    if (excused.children.count(name) > 0) {
      EXPECT_FALSE(is_run) << name << " is run by the parent";
      continue;
    }
    if (!is_run && excused.perhaps.count(name) > 0) continue;
    if (!absl::StrContains(name, chosen)) continue;
    to_cover.insert(name);
    const std::vector<SyscallError> errors = ErrorsOf(calls[name]);
    EXPECT_FALSE(is_run && errors.empty())
        << name << ": which errors has " << calls[name] << "?";
    bool is_first = true;
    for (size_t index = 0; index < baselines.size() && !errors.empty();
         ++index) {
      const int64_t runs = baselines[index][name].here;
      if (runs == 0 || (!all && covered.count(name) > 0)) continue;
      for (const Fault& fault :
           FaultsAt(site, calls[name], runs,
                    is_first ? errors
                             : std::vector<SyscallError>{
                                   errors[index % errors.size()]})) {
        if (!all && covered.count(name) > 0) break;
        ++faults;
        if (Fail(scenarios_[index], fault)) covered.insert(name);
      }
      is_first = false;
    }
    // Whether a scenario runs such a site may be chance, for example if a child
    // must be about to die; then it need not run again.
    if (covered.count(name) == 0 && excused.perhaps.count(name) > 0) {
      to_cover.erase(name);
      continue;
    }
    std::cout << (covered.count(name) > 0 ? "covered      " : "NOT COVERED  ")
              << name << "\n";
  }
  for (const std::string& name : unknown) {
    ADD_FAILURE() << "there is no " << name << " any more";
  }
  std::cout << faults << " faults in " << baselines.size() << " scenarios\n"
            << "sites covered " << covered.size() << " of " << to_cover.size()
            << std::endl;
  EXPECT_EQ(covered.size(), to_cover.size());
}

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/attacks/attack_fixture.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <iostream>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/testing/attacks/system_call_proxy.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"

namespace brood::testing {
namespace {

using server::ExitCode;

// The first byte of a client: whether its child obeys it, or echoes.
constexpr char kObey = 'o';
constexpr char kEcho = 'e';
constexpr char kQuestion[] = "question";

// A client that is not served within this time fails. Serving takes
// milliseconds.
constexpr absl::Duration kTimeout = absl::Seconds(4);

// 200 ms beyond the grace are promised; the rest is for a busy machine.
constexpr absl::Duration kStopMargin = absl::Milliseconds(200);
constexpr absl::Duration kBusyMachine = absl::Milliseconds(800);

// Returns the pid of the process that has replied to `client`, or 0.
pid_t AskForPid(TestClient& client) {
  if (!client.Send(kQuestion).ok()) return 0;
  const absl::StatusOr<std::string> reply =
      client.ReadExactly(sizeof(kQuestion) - 1 + PidText().size());
  int pid;
  if (!reply.ok() ||
      !absl::SimpleAtoi(reply->substr(sizeof(kQuestion) - 1), &pid)) {
    return 0;
  }
  return pid;
}

// Returns a user id that no other test uses at this moment.
uid_t UnusedUser() {
  return 20000 + static_cast<uid_t>(net::Now().time_since_epoch().count() /
                                    1000 % 40000);
}

}  // namespace

std::vector<StrategyRow> AttackedStrategies() {
  std::vector<StrategyRow> rows = Strategies();
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [](const StrategyRow& row) {
                              return row.strategy ==
                                     server::StrategyKind::kAuto;
                            }),
             rows.end());
  return rows;
}

AttackTest::~AttackTest() { EndOrphans(); }

void AttackTest::BecomeUnprivileged() {
  const uid_t user = UnusedUser();
  if (setgroups(0, nullptr) != 0 || setresgid(user, user, user) != 0 ||
      setresuid(user, user, user) != 0) {
    // The test is not root, or its user namespace has only one user.
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    EXPECT_EQ(syscall(SYS_capset, &header, none), 0);
  }
  // A change of the user turns both settings off.
  prctl(PR_SET_DUMPABLE, 1);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

ExitCode AttackTest::ObeyOrEcho(net::Connection& connection) {
  char kind;
  if (!net::ReadFull(connection.socket(), absl::MakeSpan(&kind, 1)).ok()) {
    return ExitCode::kServed;
  }
  return kind == kObey ? SystemCallProxy(connection)
                       : AnswerWithPid(connection);
}

TestServer::Setup AttackTest::SetupAsRoot() {
  TestServer::Setup setup = QuietSetup();
  setup.options.spares.min = kWorkers;
  setup.options.pool.workers = kWorkers;
  setup.options.drain_grace = kGrace;
  setup.options.linger = absl::Milliseconds(100);
  setup.stop_margin = absl::Seconds(3);
  setup.handler = ObeyOrEcho;
  return setup;
}

TestServer::Setup AttackTest::AttackSetup() {
  TestServer::Setup setup = SetupAsRoot();
  setup.before = BecomeUnprivileged;
  return setup;
}

std::unique_ptr<TestServer> AttackTest::StartVictim(const std::string& attack,
                                                    TestServer::Setup setup) {
  attack_ = attack;
  processes_.clear();
  served_ = clients_ = 0;
  is_measured_ = false;
  auto server = StartServer(std::move(setup));
  return server;
}

TakenOverChild AttackTest::TakeOver(const TestServer& server) {
  return TakeOver(ConnectTo(server));
}

TakenOverChild AttackTest::TakeOver(TestClient client) {
  EXPECT_THAT(client.Send(std::string(1, kObey)), IsOk());
  TakenOverChild child(std::move(client));
  EXPECT_GT(child.pid(), 0);
  return child;
}

std::vector<TakenOverChild> AttackTest::TakeOverMany(const TestServer& server,
                                                     int count) {
  std::vector<TakenOverChild> children;
  for (int i = 0; i < count; ++i) children.push_back(TakeOver(server));
  return children;
}

TestClient AttackTest::ConnectHonest(const TestServer& server, pid_t* pid) {
  TestClient client = ConnectTo(server, kTimeout);
  *pid = Serve(client);
  EXPECT_GT(*pid, 0);
  return client;
}

pid_t AttackTest::Serve(TestClient& client) {
  return client.Send(std::string(1, kEcho)).ok() ? AskForPid(client) : 0;
}

void AttackTest::AttackByAll(const TestServer& server,
                             absl::FunctionRef<void(TakenOverChild&)> attack) {
  std::vector<TakenOverChild> children = TakeOverMany(server, kWorkers);
  for (TakenOverChild& child : children) attack(child);
  for (TakenOverChild& child : children) child.Exit(0);
  for (TakenOverChild& child : children) {
    EXPECT_FALSE(child.Syscall(SYS_getpid).ok());
  }
}

int AttackTest::ServeClients(const TestServer& server, int count) {
  int failed_in_a_row = 0;
  int served = 0;
  for (int i = 0; i < count && failed_in_a_row < 3; ++i) {
    absl::StatusOr<TestClient> client =
        TestClient::Connect(server.endpoint(), kTimeout);
    const pid_t pid = client.ok() ? Serve(*client) : 0;
    if (pid == 0) {
      ++failed_in_a_row;
      continue;
    }
    failed_in_a_row = 0;
    ++served;
    processes_.insert(pid);
  }
  served_ += served;
  clients_ += count;
  return served;
}

void AttackTest::ExpectNotBusy(const TestServer& server) {
  const net::Instant from = net::Now();
  const absl::optional<absl::Duration> before = TryCpuTimeOf(server.pid());
  LetPass(absl::Milliseconds(500));
  const absl::optional<absl::Duration> after = TryCpuTimeOf(server.pid());
  is_measured_ = true;
  busy_percent_ = 0;
  // If the server has ended, the test fails later.
  if (!before || !after) return;
  busy_percent_ = 100 * absl::FDivDuration(*after - *before,
                                           absl::FromChrono(net::Now() - from));
  EXPECT_LT(busy_percent_, kCostOfFork * 5.0) << attack_;
}

TestServer::Report AttackTest::StopInTime(TestServer& server) {
  const net::Instant from = net::Now();
  TestServer::Report report = server.Stop();
  const absl::Duration took = absl::FromChrono(net::Now() - from);
  EXPECT_LE(took, kGrace + kStopMargin + kBusyMachine * kCostOfFork) << attack_;
  std::cout << absl::StrFormat(
      "%-44s %-7s %3d of %3d served by %2d, parent %5.1f %%, stop %5.2f s, "
      "%s\n",
      attack_, row().name(), served_, clients_,
      static_cast<int>(processes_.size()), busy_percent_,
      absl::ToDoubleSeconds(took), report.exit_status.ToString());
  return report;
}

TestServer::Report AttackTest::ExpectHarmless(TestServer& server, int count) {
  SCOPED_TRACE(attack_);
  EXPECT_EQ(ServeClients(server, count / 2), count / 2);
  if (!is_measured_) ExpectNotBusy(server);
  EXPECT_EQ(ServeClients(server, count - count / 2), count - count / 2);
  TestServer::Report report = StopInTime(server);
  if (may_leave_zombies_) report.leaks.clear();
  ExpectClean(report);
  EndOrphans();
  return report;
}

void AttackTest::EndOrphans() {
  // Kills all processes before it waits for one: a zombie may be traced by
  // another of them.
  for (;;) {
    for (const pid_t pid : DescendantsOf(getpid())) kill(pid, SIGKILL);
    const std::vector<pid_t> children =
        ChildrenWhoseState(getpid(), [](char /*state*/) { return true; });
    if (children.empty()) return;
    for (const pid_t pid : children) {
      TEMP_FAILURE_RETRY(waitpid(pid, nullptr, __WALL));
    }
  }
}

}  // namespace brood::testing

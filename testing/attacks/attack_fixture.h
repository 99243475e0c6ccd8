// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_ATTACK_FIXTURE_H_
#define BROOD_TESTING_ATTACKS_ATTACK_FIXTURE_H_

#include <sys/types.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/server/handler.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/subreaper.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "gtest/gtest.h"

namespace brood::testing {

// AttackTest is the fixture of attacks on a server by a child that was taken
// over by its client. Each test attacks a server and then calls
// ExpectHarmless(), which expects what holds after every attack: all other
// clients are served, the parent is not busy, a stop ends in time, and nothing
// is left behind. It prints the figures of the attack in one line.
//
// The server runs with the rights of one user other than root, whatever the
// user of the test is; SetupAsRoot() is for attacks that only root can make.
// Processes that an attack leaves behind become children of the test, which
// ends them. Lives in the test process; errors fail the test.
//
// Example:
//   TEST_P(ChannelAttacksTest, ShutsDownItsSockets) {
//     const auto server = StartVictim("A1 shutdown");
//     TakenOverChild child = TakeOver(*server);
//     for (int fd : child.UnixSockets()) child.Syscall(SYS_shutdown, fd, 1);
//     child.Exit(0);
//     ExpectHarmless(*server);
//   }
class AttackTest : public StrategyTest {
 protected:
  // kWorkers is how many workers a pool has, and how many spares wait.
  static constexpr int kWorkers = 4;
  // kClients is how many clients connect after an attack.
  static constexpr int kClients = 40;
  // kGrace is the grace of a stop.
  static constexpr absl::Duration kGrace = absl::Milliseconds(300);

  ~AttackTest() override;

  // Returns the setup of a server that obeys the clients of TakeOver() and
  // echoes to others. It has no right that the user root has.
  static TestServer::Setup AttackSetup();
  // Returns the same, but with the rights that the test has.
  static TestServer::Setup SetupAsRoot();
  // Handles a connection of either kind.
  static server::ExitCode ObeyOrEcho(net::Connection& connection);
  // Gives up all rights that only root has, and makes this process dumpable, as
  // a program is that another user has started.
  static void BecomeUnprivileged();

  // Starts a server. `attack` is the name of the attack in the printed line:
  // its row of docs/threat_model.md and a few words.
  std::unique_ptr<TestServer> StartVictim(
      const std::string& attack, TestServer::Setup setup = AttackSetup());
  // Connects a client and takes its child over.
  TakenOverChild TakeOver(const TestServer& server);
  // Takes over the child of `client`, which has sent nothing yet.
  static TakenOverChild TakeOver(TestClient client);
  // Takes over `count` children, which then exist at the same time.
  std::vector<TakenOverChild> TakeOverMany(const TestServer& server, int count);
  // Connects a client, has it served, and returns it. Stores its process in
  // `pid`.
  TestClient ConnectHonest(const TestServer& server, pid_t* pid);
  // Sends a request by `client`, which has sent nothing yet. Returns the pid of
  // the process that replied, or 0 if no reply came.
  static pid_t Serve(TestClient& client);
  // Lets every worker of a pool, or as many children, run `attack` and exit.
  void AttackByAll(const TestServer& server,
                   absl::FunctionRef<void(TakenOverChild&)> attack);

  // Connects `count` clients one after the other, each of which sends a request
  // and expects a reply. Returns how many were served. Gives up after three
  // that were not.
  int ServeClients(const TestServer& server, int count = kClients);
  // Returns the processes that served the clients of ServeClients().
  const std::set<pid_t>& processes() const { return processes_; }
  // Expects that the parent uses less than 5 % of a processor during half a
  // second without clients. (The work for clients is no effect of the attack.)
  void ExpectNotBusy(const TestServer& server);
  // Stops the server, and expects that this takes at most the grace and 200 ms.
  TestServer::Report StopInTime(TestServer& server);
  // Expects that `count` clients are served, half of them before
  // ExpectNotBusy(), that the server stops in time and in order, and that
  // nothing is left behind.
  TestServer::Report ExpectHarmless(TestServer& server, int count = kClients);
  // Allows the server of this test to leave zombies behind that another process
  // traces: the kernel keeps them among its children.
  void AllowTracedZombies() { may_leave_zombies_ = true; }
  // Kills and reaps all descendants of the test process. Called when the server
  // has ended, these are the processes that the attack left behind.
  void EndOrphans();

 private:
  const Subreaper subreaper_;
  std::string attack_;
  std::set<pid_t> processes_;
  int served_ = 0, clients_ = 0;
  double busy_percent_ = 0;
  bool is_measured_ = false;
  bool may_leave_zombies_ = false;
};

// Returns the rows of the strategies that attacks are run for: all but "auto",
// which chooses one of the others.
std::vector<StrategyRow> AttackedStrategies();

}  // namespace brood::testing

#endif  // BROOD_TESTING_ATTACKS_ATTACK_FIXTURE_H_

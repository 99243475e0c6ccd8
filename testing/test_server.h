// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_TEST_SERVER_H_
#define BROOD_TESTING_TEST_SERVER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/logged_event.h"

namespace brood::testing {

class LogLines;

// Example of a test (the fixture ServerTest of server_fixture.h is shorter):
//   TestServer::Setup setup;
//   setup.options.max_connections = 4;
//   absl::StatusOr<std::unique_ptr<TestServer>> server =
//       TestServer::Start(std::move(setup));
//   ASSERT_THAT(server, IsOk());
//   auto client = TestClient::Connect((*server)->endpoint());
//   ASSERT_THAT(client, IsOk());
//   client->Close();
//   EXPECT_THAT((*server)->AwaitEvent("ended", {{"brood.exit.code", 0}}),
//               IsOk());
//   EXPECT_EQ((*server)->Stop().totals.ended_ok, 1u);

// TestServer is a real TcpServer in a process of its own.
//
//   test process ──fork──▶ server process ──fork──▶ a child per connection
//       ▲  log lines (a pipe: the server process's standard error)  │
//       └──────────── report (shared memory) ◀──────────────────────┘
//
// The functions of Setup run in the server process. The test process itself
// gets no listener, no signal handler, and no child but the server process.
// The test fails when the server stops, if an expectation failed in the server
// process or in a handler, a function of Setup threw, the totals of connections
// are not balanced, or something was left behind.
//
// Owns the server process and stops it in the destructor. A server process that
// does not end in time is described, killed with all of its children, and fails
// the test. Not thread-safe: only the thread that called Start() may use it,
// and the end of that thread kills the server process.
//
// Errors: Start() returns what TcpServer::Create() returned in the server
// process. The waits return DeadlineExceeded, with the log so far.
class TestServer {
 public:
  // How long a call waits, unless it is given a timeout.
  static constexpr absl::Duration kTimeout = absl::Seconds(10);

  // Setup is what the server process does. The fields are in the order in which
  // they are used.
  struct Setup {
    // Returns server.Run(): the default of `run`.
    static absl::Status RunServer(server::TcpServer& server) {
      return server.Run();
    }

    // Makes a setup that listens on 127.0.0.1:0, echoes what clients send, has
    // a drain_grace of 5 s, and logs in the format JSON, whose lines are the
    // events that tests wait for (see logged_event.h).
    Setup();

    // Runs before the first census and Create(): for limits, signals, and
    // children of an embedder.
    std::function<void()> before;
    // The first argument of Create().
    server::Options options;
    // Listening descriptors that the server process passes to Create(), and
    // owns from then on. The test process keeps its own copies.
    std::vector<int> inherited;
    // Other descriptors that the server closes in the end: those of an entry
    // "fd:N", or of an upgrade.
    std::vector<int> given;
    // Serves each connection, in a child.
    server::Handler handler;
    // Runs the server and returns when it has stopped. Default: RunServer. For
    // a test that calls Step() itself.
    std::function<absl::Status(server::TcpServer&)> run;
    // Runs when the server has been destroyed, before the second census.
    std::function<void()> after;

    // The standard error of the server process, instead of the kit's pipe; lent
    // until Start() returns. If it is set, no call finds a line of the log.
    int stderr_fd = -1;
    // If true, what the server process leaves behind does not fail the test. It
    // is in Report::leaks anyhow.
    bool may_leave_traces = false;
    // How long Stop() waits beyond drain_grace.
    absl::Duration stop_margin = absl::Seconds(5);
  };

  // Report is how the server process ended, and what it reported before.
  struct Report {
    // How the server process ended: with code 0 if Run() returned OK.
    proc::ExitStatus exit_status = proc::ExitStatus::Unknown();
    // Whether the server process reported the fields below. It does so at its
    // end, which it does not reach if it is killed or crashes.
    bool complete = false;
    // What Run() returned, as text.
    std::string run_status;
    // The totals of the server after Run().
    server::Totals totals;
    // Whether each connection has exactly one outcome.
    bool balanced = false;
    // How many lines the server could not write.
    uint64_t log_lines_dropped = 0;
    // What the server left behind in its process, except a program that took
    // over in an upgrade; see Census::Difference().
    std::vector<std::string> leaks;
    // The whole log; see EventsOf().
    std::string log;
  };

  // Starts a server process and waits until its server listens. Returns what
  // Create() returned if that failed, and Internal, with a description of the
  // process and its log, if the process is not ready within kTimeout.
  static absl::StatusOr<std::unique_ptr<TestServer>> Start(
      Setup setup = Setup());
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  // Stops the server process, unless it was reaped, and kills the processes
  // that Kill() left.
  ~TestServer();

  // Returns where the server listens, in the order of Options::listen.
  const net::Endpoint& endpoint(size_t index = 0) const {
    return endpoints_.at(index);
  }

  // Returns the options of Setup.
  const server::Options& options() const { return options_; }

  // Returns the pid of the server process. The kernel may reuse the number
  // after Stop() or AwaitExit().
  pid_t pid() const { return pid_; }
  // Sends `signal` to the server process. Fails the test if it has ended.
  void Signal(int signal);
  // Returns the children of the server process that have not ended.
  std::vector<pid_t> children() const;
  // Returns the children of the server process that have ended but were not
  // reaped.
  std::vector<pid_t> zombies() const;

  // Waits for an event called `name` ("forked", "ended") and returns it. Each
  // event is returned once, and the others stay for other calls: the order of
  // the parent's and a child's lines does not matter, and three calls wait for
  // three events.
  absl::StatusOr<LoggedEvent> AwaitEvent(absl::string_view name,
                                         absl::Duration timeout = kTimeout) {
    return AwaitEvent(name, {}, timeout);
  }
  // Does the same for an event that also has each of `fields`.
  absl::StatusOr<LoggedEvent> AwaitEvent(absl::string_view name,
                                         const LoggedEvent::Fields& fields,
                                         absl::Duration timeout = kTimeout);
  // Does the same for `count` events, which it returns in their order.
  absl::StatusOr<std::vector<LoggedEvent>> AwaitEvents(
      int count, absl::string_view name, absl::Duration timeout = kTimeout);
  // Waits for a line that contains `text` and is not an event, and returns it:
  // for what handlers and other programs write to standard error. Each line is
  // returned once.
  absl::StatusOr<std::string> AwaitLogLine(absl::string_view text,
                                           absl::Duration timeout = kTimeout);
  // Does the same for `count` lines.
  absl::Status AwaitLogLines(int count, absl::string_view text,
                             absl::Duration timeout = kTimeout);
  // Returns everything logged so far; see EventsOf().
  std::string log();

  // Sends SIGTERM to the server process, unless AwaitExit() has reaped it, and
  // calls AwaitExit().
  Report Stop();
  // Waits for the server process to end by itself. Fails the test if it does
  // not within drain_grace + stop_margin, and then kills it.
  Report AwaitExit();
  // Sends SIGKILL to the server process alone and reaps it. Its children live
  // on without it until the TestServer is destroyed. The Report is not
  // complete.
  void Kill();

 private:
  struct Shared;
  // Makes an object without a server process.
  TestServer();

  // Runs in the server process, and is all that this process does: serves, and
  // exits with the code of Serve(). An exception fails the test.
  [[noreturn]] static void LiveAsServer(const Setup& setup, Shared* shared,
                                        int ready_fd);
  // Runs the functions of `setup` and the server. Writes to `ready_fd` where it
  // listens, or the error of Create(), and to `shared` how it ended.
  static server::ExitCode Serve(const Setup& setup, Shared* shared,
                                int ready_fd);
  // Waits until the server process writes to `ready_fd`, and stores the
  // endpoints. On an error, reaps the process; see Start().
  absl::Status AwaitReady(int ready_fd);
  // Waits until the server process has ended, without reaping it. Returns false
  // if it has not by `deadline`.
  bool AwaitEnd(net::Instant deadline);
  // Fails the test if the totals are not balanced, or if something was left
  // behind that may not be.
  void CheckReport();
  // Returns what the server process left behind, without a program that took
  // over in an upgrade.
  std::vector<std::string> Leaks();
  // Kills the server process alone, and keeps pidfds of its descendants. Does
  // not reap it.
  void KillAndKeepOrphans();
  // Waits for the server process, and stores how it ended.
  void Reap();
  // Kills the processes that KillAndKeepOrphans() has kept, and waits until
  // each has ended, for kTimeout at most.
  void KillOrphans();
  // Returns the states of the server process and of its descendants, for an
  // error message in which the log comes next.
  std::string Explain() const;
  // Returns the report from the exit status, the shared memory and the log.
  Report MakeReport();

  absl::Duration stop_timeout_;
  bool may_leave_traces_ = false;
  server::Options options_;
  pid_t pid_ = 0;
  bool reaped_ = false;
  int pid_fd_ = -1;
  Shared* shared_ = nullptr;
  std::vector<net::Endpoint> endpoints_;
  const std::unique_ptr<LogLines> log_;
  proc::ExitStatus exit_status_ = proc::ExitStatus::Unknown();
  std::vector<int> orphans_;  // pidfds of children that outlived the server
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_TEST_SERVER_H_

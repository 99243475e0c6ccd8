// SPDX-License-Identifier: Apache-2.0

// TestServer: a real TcpServer in a process of its own, for a test to talk to.
//
// Start() forks the server process from the test, where everything in Setup
// runs; the test process itself gets no listener, no handler of signals, and no
// child but that one. Both ends of the account are checked: the server process
// takes a census of itself before Create() and after the server is gone, and
// tells it, with its totals, in the Report.
//
//   test process ──fork──▶ server process ──fork──▶ a child per connection
//       ▲  log lines (a pipe: the server process's standard error)  │
//       └──────────── report (shared memory) ◀──────────────────────┘
//
// The log has the format JSON: its lines are the events that tests wait for;
// see logged_event.h.
//
// What EXPECT_... says in the server process or in a handler, an exception that
// leaves one of Setup's functions, a connection without exactly one fate, and
// what is left behind: each fails the test when the server stops.
//
// Owns the server process, whose death is awaited with a deadline: one that
// hangs is explained, killed with all of its children, and fails the test. The
// server is stopped by the destructor at the latest. Not thread-safe, and to be
// used in the thread that started it, whose end kills the server process.
//
// Errors: Start() gives what TcpServer::Create() gave in the server process;
// the waits give DeadlineExceeded, with what was logged so far.
//
// Example:
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
// or shorter, with the fixture ServerTest of server_fixture.h.

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

class TestServer {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(10);

  // What the server process does, in this order.
  struct Setup {
    // The usual `run`.
    static absl::Status RunServer(server::TcpServer& server) {
      return server.Run();
    }

    // Listens on 127.0.0.1:0 with a drain_grace of 5 s; echoes; logs in the
    // format JSON.
    Setup();

    // Before the first census and Create(): limits, signals, children of an
    // embedder.
    std::function<void()> before;
    server::Options options;
    // Listening descriptors that the server process passes to Create(), and
    // owns from then on. The test process keeps its own copies.
    std::vector<int> inherited;
    // Other descriptors that the server closes in the end: those of an entry
    // "fd:N", or of an upgrade.
    std::vector<int> given;
    server::Handler handler;
    // Server.Run() unless said otherwise; for a test that drives Step().
    std::function<absl::Status(server::TcpServer&)> run;
    // When the server is destroyed, before the second census.
    std::function<void()> after;

    // The standard error of the server process, instead of the kit's pipe; lent
    // until Start() returns. There are no log lines to wait for, then.
    int stderr_fd = -1;
    // Whether what is left behind fails the test; the report has it anyhow.
    bool may_leave_traces = false;
    // What Stop() allows for beyond drain_grace.
    absl::Duration stop_margin = absl::Seconds(5);
  };

  struct Report {
    // How the server process ended: code 0 if Run() returned OK.
    proc::ExitStatus exit_status = proc::ExitStatus::Unknown();
    // The rest is what it told before that; it did not get there if false.
    bool complete = false;
    // What Run() returned, as text.
    std::string run_status;
    server::Totals totals;
    bool balanced = false;
    uint64_t log_lines_dropped = 0;
    // What it left behind in its own process, but for a program that has taken
    // over; see Census::Difference().
    std::vector<std::string> leaks;
    // The whole log; see EventsOf().
    std::string log;
  };

  static absl::StatusOr<std::unique_ptr<TestServer>> Start(
      Setup setup = Setup());
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer();

  // Where it listens, in the order of the options.
  const net::Endpoint& endpoint(size_t index = 0) const {
    return endpoints_.at(index);
  }

  // What Setup said.
  const server::Options& options() const { return options_; }

  // The server process; its number is its own until Stop() or AwaitExit().
  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // Its children that live, and those that have ended but were not reaped.
  std::vector<pid_t> children() const;
  std::vector<pid_t> zombies() const;

  // Waits for an event called `name` ("forked", "ended") and returns it. Each
  // event is returned once, and the others stay for other calls: the order of
  // the parent's and a child's lines does not matter, and three calls wait for
  // three events.
  absl::StatusOr<LoggedEvent> AwaitEvent(absl::string_view name,
                                         absl::Duration timeout = kPatience) {
    return AwaitEvent(name, {}, timeout);
  }
  // Does the same for an event that also has each of `fields`.
  absl::StatusOr<LoggedEvent> AwaitEvent(absl::string_view name,
                                         const LoggedEvent::Fields& fields,
                                         absl::Duration timeout = kPatience);
  // Does the same for `count` events, which it returns in their order.
  absl::StatusOr<std::vector<LoggedEvent>> AwaitEvents(
      int count, absl::string_view name, absl::Duration timeout = kPatience);
  // Waits for a line that contains `text` and is not an event, and returns it:
  // for what handlers and other programs write to standard error. Each line is
  // returned once.
  absl::StatusOr<std::string> AwaitLogLine(absl::string_view text,
                                           absl::Duration timeout = kPatience);
  // Does the same for `count` lines.
  absl::Status AwaitLogLines(int count, absl::string_view text,
                             absl::Duration timeout = kPatience);
  // Returns everything logged so far; see EventsOf().
  std::string log();

  // SIGTERM, unless it has ended already, then AwaitExit().
  Report Stop();
  // Waits for the server process to end by itself.
  Report AwaitExit();
  // SIGKILL to the server process alone. Its children live on without it, until
  // the TestServer is destroyed. Report and leaks stay empty.
  void Kill();

 private:
  struct Shared;
  TestServer();

  [[noreturn]] static void LiveAsServer(const Setup& setup, Shared* shared,
                                        int ready_fd);
  static server::ExitCode Serve(const Setup& setup, Shared* shared,
                                int ready_fd);
  absl::Status AwaitReady(int ready_fd);
  bool AwaitEnd(net::Instant deadline);
  void CheckAccount();
  std::vector<std::string> Leaks();
  void KillAndKeepOrphans();
  void Reap();
  void Bury();
  std::string Explain() const;
  Report MakeReport();

  absl::Duration stop_patience_;
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

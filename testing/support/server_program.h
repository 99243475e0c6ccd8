// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_SERVER_PROGRAM_H_
#define BROOD_TESTING_SUPPORT_SERVER_PROGRAM_H_

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/testing/internal/log_lines.h"
#include "brood/testing/support/subreaper.h"

namespace brood::testing {

// ServerProgram is a server that is an executable file, with all its
// generations.
//
// Like TestServer, but the program is started as its users start it. pid() is
// the generation that has taken over last, and Stop() waits for all
// generations. They share one log in the format JSON: a pipe that is their
// standard error.
//
// Lives in the test process, which adopts orphans of the generations (see
// subreaper.h): one object at a time. With SERVER_UNDER="valgrind -q" in the
// environment the program runs under that command. Owns every process. Errors:
// Start() returns why the program did not become ready.
//
// Example:
//   auto server = ServerProgram::Start({"server/server", "--strategy=pool"});
//   ASSERT_THAT(server, IsOk());
//   (*server)->Signal(SIGUSR2);
//   EXPECT_THAT((*server)->AwaitSuccessor(), IsOk());
//   EXPECT_THAT(ConnectTo((*server)->endpoint()).Echo("hello"), IsOk());
//   EXPECT_THAT((*server)->Stop(), IsOk());
class ServerProgram {
 public:
  // How long each wait of this class lasts at most.
  static constexpr absl::Duration kTimeout = absl::Seconds(20);

  // Returns the path of //server, for a test that has it in its data.
  static std::string Path();

  // Starts the program whose path and arguments are `command`, with the flags
  // --listen=127.0.0.1:0 and --log_format=json before its arguments.
  static absl::StatusOr<std::unique_ptr<ServerProgram>> Start(
      std::vector<std::string> command);
  ServerProgram(const ServerProgram&) = delete;
  ServerProgram& operator=(const ServerProgram&) = delete;
  // Kills the processes that are left.
  ~ServerProgram();

  // Returns where the server listens.
  const net::Endpoint& endpoint() const { return endpoint_; }
  // Returns the pid of the generation that has taken over last.
  pid_t pid() const { return generations_.back(); }
  // Returns the pids of all generations, the first one first.
  const std::vector<pid_t>& generations() const { return generations_; }
  // Returns the pid of the main process, which was started first.
  pid_t main_pid() const { return generations_.front(); }
  // Sends `signal` to pid().
  void Signal(int signal) const;

  // Lends the log of all generations.
  LogLines& log() { return log_; }
  // Waits until the next generation has taken over. Returns DeadlineExceeded,
  // with the log, after `timeout`.
  absl::Status AwaitSuccessor(absl::Duration timeout = kTimeout);
  // Reads the new lines of the log, without waiting, so that pid() is up to
  // date.
  void FollowLog();
  // Returns the pids of all programs that were started by an upgrade, whether
  // they have taken over or not.
  const std::set<pid_t>& started() const { return started_; }

  // Sends SIGTERM to pid(), then calls AwaitExit(). An upgrade that is in
  // progress is cancelled.
  absl::Status Stop();
  // Waits until every generation has ended. Returns FailedPrecondition if one
  // does not exit with 0, or does not log once that its totals are balanced.
  // (With a --log_level that excludes this event, no generation may log that
  // they are not balanced.)
  absl::Status AwaitExit();

 private:
  ServerProgram() = default;
  // Waits until the program prints where it listens to `stdout_fd`, and stores
  // the endpoint. Returns Unavailable, with the log, if it prints no such line
  // within kTimeout.
  absl::Status AwaitListening(int stdout_fd);
  // Sends SIGTERM to the generation that has taken over last, unless the last
  // call sent it to the same one.
  void StopTheLast();
  // Kills and reaps all descendants of the test process.
  void KillAll();

  const Subreaper subreaper_;
  net::Endpoint endpoint_;
  LogLines log_;
  std::vector<pid_t> generations_;
  std::set<pid_t> started_;
  size_t followed_ = 0;  // how many bytes of the log were read
  bool terse_ = false;   // the log has warnings and errors only
  pid_t told_to_stop_ = 0;
  bool over_ = false;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SERVER_PROGRAM_H_

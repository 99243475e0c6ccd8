// SPDX-License-Identifier: Apache-2.0

// ServerProgram: a server that is an executable file, through all its
// generations, for a test to talk to.
//
// As TestServer, but the program is started as its users start it, and each
// successor that it upgrades to is followed: pid() is the one that has taken
// over last, and Stop() waits for every one that ever was. They share one log
// (a pipe: their standard error), which has the format JSON.
//
// Lives in the test process, which adopts what the generations leave behind
// (see subreaper.h) while an object of this class lives: one at a time.
// With SERVER_UNDER="valgrind -q" in the environment the program runs under
// that one, as its successors do if it sees to that.
//
// Owns every process, and kills those that are left. Errors: Start() says why
// the program did not become ready.
//
// Example:
//   auto server = ServerProgram::Start({"server/server", "--strategy=pool"});
//   ASSERT_THAT(server, IsOk());
//   (*server)->Signal(SIGUSR2);
//   EXPECT_THAT((*server)->AwaitSuccessor(), IsOk());
//   EXPECT_THAT(ConnectTo((*server)->endpoint()).Echo("hello"), IsOk());
//   EXPECT_THAT((*server)->Stop(), IsOk());

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

class ServerProgram {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(20);

  // Where //server is, for a test that has it in its data.
  static std::string Path();

  // Starts the program whose path and arguments are `command`, to which
  // --listen=127.0.0.1:0 and --log_format=json are added, first.
  static absl::StatusOr<std::unique_ptr<ServerProgram>> Start(
      std::vector<std::string> command);
  ServerProgram(const ServerProgram&) = delete;
  ServerProgram& operator=(const ServerProgram&) = delete;
  ~ServerProgram();

  const net::Endpoint& endpoint() const { return endpoint_; }
  // Of the generation that has taken over last.
  pid_t pid() const { return generations_.back(); }
  const std::vector<pid_t>& generations() const { return generations_; }
  // Of the process that was started first.
  pid_t main_pid() const { return generations_.front(); }
  // To pid().
  void Signal(int signal) const;

  LogLines& log() { return log_; }
  // Waits until a successor has taken over.
  absl::Status AwaitSuccessor(absl::Duration patience = kPatience);
  // Reads on in the log, without waiting: so pid() is up to date.
  void FollowLog();
  // Every process that was started to be a generation, and may not be one yet.
  const std::set<pid_t>& started() const { return started_; }

  // SIGTERM to the last one, then AwaitExit(). An upgrade that is in flight
  // goes with it.
  absl::Status Stop();
  // Waits for every generation to end. Each must exit with 0, and say in the
  // log that its account is balanced (with a --log_level that leaves this out:
  // must not say that it isn't); otherwise FailedPrecondition.
  absl::Status AwaitExit();

 private:
  ServerProgram() = default;
  absl::Status AwaitListening(int stdout_fd);
  void StopTheLast();
  void KillAll();

  const Subreaper subreaper_;
  net::Endpoint endpoint_;
  LogLines log_;
  std::vector<pid_t> generations_;
  std::set<pid_t> started_;
  size_t followed_ = 0;  // how much of the log
  bool terse_ = false;   // the log has no more than warnings
  pid_t told_to_stop_ = 0;
  bool over_ = false;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SERVER_PROGRAM_H_

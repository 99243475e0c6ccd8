// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/server_program.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "brood/net/instant.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/support/observe.h"

namespace brood::testing {
namespace {

// The key of the field that is "success" if the totals are balanced.
constexpr char kResult[] = "event.outcome";

}  // namespace

// Tests start in the directory of their runfiles.
std::string ServerProgram::Path() {
  char here[PATH_MAX];
  if (getcwd(here, sizeof(here)) == nullptr) return "server/server";
  return absl::StrCat(here, "/server/server");
}

absl::StatusOr<std::unique_ptr<ServerProgram>> ServerProgram::Start(
    std::vector<std::string> command) {
  std::unique_ptr<ServerProgram> server(new ServerProgram);
  net::Socket log_end;
  absl::StatusOr<LogLines> log = LogLines::Create(&log_end);
  if (!log.ok()) return log.status();
  server->log_ = *std::move(log);
  int out[2];
  if (pipe(out) < 0) return absl::ErrnoToStatus(errno, "pipe");
  const net::Socket out_reader = net::Socket::Adopt(out[0]);
  net::Socket out_writer = net::Socket::Adopt(out[1]);

  command.insert(command.begin() + 1,
                 {"--listen=127.0.0.1:0", "--log_format=json"});
  if (const char* const under = getenv("SERVER_UNDER"); under != nullptr) {
    const std::vector<std::string> words =
        absl::StrSplit(under, ' ', absl::SkipEmpty());
    command.insert(command.begin(), words.begin(), words.end());
  }
  std::vector<char*> arguments;
  for (std::string& argument : command) {
    arguments.push_back(argument.data());
    server->terse_ |= argument == "--log_level=warning";
  }
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    dup2(out_writer.fd(), STDOUT_FILENO);
    dup2(log_end.fd(), STDERR_FILENO);
    close(out[0]);
    close(out[1]);
    execvp(arguments[0], arguments.data());
    std::perror(arguments[0]);
    _exit(127);
  }
  server->generations_.push_back(pid);
  out_writer.Close();
  log_end.Close();
  absl::Status listening = server->AwaitListening(out_reader.fd());
  if (!listening.ok()) return listening;
  return server;
}

absl::Status ServerProgram::AwaitListening(int stdout_fd) {
  pollfd line = {stdout_fd, POLLIN, 0};
  char text[256] = {};
  if (TEMP_FAILURE_RETRY(poll(
          &line, 1, static_cast<int>(absl::ToInt64Milliseconds(kTimeout)))) <=
          0 ||
      TEMP_FAILURE_RETRY(read(stdout_fd, text, sizeof(text) - 1)) <= 0 ||
      !absl::StartsWith(text, "listening ")) {
    return absl::UnavailableError(absl::StrCat(
        "no line 'listening ENDPOINT' on standard output: ", text, log_.All()));
  }
  const std::vector<std::string> words =
      absl::StrSplit(text, absl::ByAnyChar(" \n"));
  absl::StatusOr<net::Endpoint> endpoint = net::Endpoint::Parse(words[1]);
  if (!endpoint.ok()) return endpoint.status();
  endpoint_ = *endpoint;
  return absl::OkStatus();
}

ServerProgram::~ServerProgram() {
  if (!over_) KillAll();
}

void ServerProgram::Signal(int signal) const { kill(pid(), signal); }

absl::Status ServerProgram::AwaitSuccessor(absl::Duration timeout) {
  const size_t before = generations_.size();
  const net::Instant deadline = net::After(net::Now(), timeout);
  for (FollowLog(); generations_.size() == before; FollowLog()) {
    const timespec left =
        absl::ToTimespec(net::TimeUntil(deadline, net::Now()));
    pollfd more = {log_.fd(), POLLIN, 0};
    if (log_.fd() < 0 ||
        TEMP_FAILURE_RETRY(ppoll(&more, 1, &left, nullptr)) == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("no new generation has taken over:\n", log_.All()));
    }
  }
  return absl::OkStatus();
}

void ServerProgram::FollowLog() {
  const absl::string_view log = log_.All();
  const absl::string_view lines =
      log.substr(followed_, log.rfind('\n') + 1 - followed_);
  followed_ += lines.size();
  for (const LoggedEvent& event : EventsOf(lines, "upgrade-started")) {
    started_.insert(static_cast<pid_t>(event.Number("brood.child.pid")));
  }
  for (const LoggedEvent& event : EventsOf(lines, "upgrade-completed")) {
    generations_.push_back(static_cast<pid_t>(event.Number("brood.child.pid")));
  }
}

absl::Status ServerProgram::Stop() {
  StopTheLast();
  return AwaitExit();
}

void ServerProgram::StopTheLast() {
  FollowLog();
  if (std::exchange(told_to_stop_, pid()) != pid()) Signal(SIGTERM);
}

absl::Status ServerProgram::AwaitExit() {
  std::vector<std::string> complaints;
  const net::Instant deadline = net::After(net::Now(), kTimeout);
  int status;
  for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG | __WALL)) >= 0;) {
    if (pid == 0) {
      if (net::Now() > deadline) break;
      // Otherwise a generation could wait for room in the pipe of the log, or a
      // new generation could stay whose old one got SIGTERM just after the
      // upgrade.
      told_to_stop_ != 0 ? StopTheLast() : FollowLog();
      Await(
          [&] {
            siginfo_t ended = {};
            return waitid(P_ALL, 0, &ended,
                          WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 ||
                   ended.si_pid != 0;
          },
          absl::Milliseconds(100));
      continue;
    }
    FollowLog();
    bool is_generation = false;
    for (pid_t generation : generations_) is_generation |= generation == pid;
    if (!is_generation) continue;  // a child that outlived its parent
    if (status != 0) {
      complaints.push_back(
          absl::StrCat("generation ", pid, " ended with status ", status));
    }
  }
  over_ = errno == ECHILD;
  // Also checks the generations that the main process has reaped.
  for (pid_t pid : generations_) {
    if (!terse_ && EventsOf(log_.All(), "stopped",
                            {{"process.pid", pid}, {kResult, "success"}})
                           .size() != 1) {
      complaints.push_back(absl::StrCat("generation ", pid,
                                        " did not log balanced totals once"));
    }
  }
  for (const LoggedEvent& unbalanced :
       EventsOf(log_.All(), "stopped", {{kResult, "failure"}})) {
    complaints.push_back(unbalanced.line());
  }
  if (!over_) {
    complaints.push_back("these processes did not end:");
    for (pid_t pid : DescendantsOf(getpid())) {
      complaints.push_back(DescribeProcess(pid));
    }
  }
  if (complaints.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(absl::StrJoin(complaints, "\n"), "\n", log_.All()));
}

// Stops all processes before it kills them, so that none can create another.
void ServerProgram::KillAll() {
  std::vector<pid_t> left;
  while (!(left = DescendantsOf(getpid())).empty()) {
    for (pid_t pid : left) kill(pid, SIGSTOP);
    for (pid_t pid : left) kill(pid, SIGKILL);
    while (waitpid(-1, nullptr, __WALL | WNOHANG) > 0) {
    }
  }
}

}  // namespace brood::testing

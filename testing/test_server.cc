// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/test_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "brood/net/socket.h"
#include "brood/server/echo_handler.h"
#include "brood/server/inherited_listener.h"
#include "brood/testing/internal/log_lines.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/internal/shared_texts.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// Reports failures in the server process and its children to the test process.
class FailureForwarder : public ::testing::EmptyTestEventListener {
 public:
  explicit FailureForwarder(SharedTexts* failures) : failures_(failures) {}

  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const char* file = result.file_name();
    failures_->Add(absl::StrCat(file == nullptr ? "" : file, ":",
                                result.line_number(), ": ", result.message()));
  }

 private:
  SharedTexts* const failures_;
};

int OpenPidFd(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

int MillisecondsUntil(net::Instant deadline) {
  const absl::Duration left = net::TimeUntil(deadline, net::Now());
  if (left <= absl::ZeroDuration()) return 0;
  return static_cast<int>(std::min<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))),
      INT_MAX));
}

}  // namespace

// What the server process reports; the test process reads it when that ended.
struct TestServer::Shared {
  bool complete = false;
  server::Totals totals;
  uint64_t log_lines_dropped = 0;
  SharedTexts run_status;
  SharedTexts leaks;
  SharedTexts failures;
};

TestServer::Setup::Setup()
    : handler(server::EchoHandler(1024)), run(RunServer) {
  options.listen = {"127.0.0.1:0"};
  options.log.format = server::LogFormat::kJson;
  options.log.rate = 0;  // tests count events
  options.drain_grace = absl::Seconds(5);
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): made for this call
absl::StatusOr<std::unique_ptr<TestServer>> TestServer::Start(Setup setup) {
  std::unique_ptr<TestServer> server(new TestServer);
  server->stop_timeout_ = setup.options.drain_grace + setup.stop_margin;
  server->may_leave_traces_ = setup.may_leave_traces;
  server->options_ = setup.options;
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  server->shared_ = new (memory) Shared;

  net::Socket log_end;
  absl::StatusOr<LogLines> log = LogLines::Create(&log_end);
  if (!log.ok()) return log.status();
  *server->log_ = *std::move(log);
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) < 0) return absl::ErrnoToStatus(errno, "pipe2");
  const absl::Cleanup close_ready = [&] { close(ready[0]); };

  std::fflush(nullptr);  // or the server process would write it again
  const pid_t test_process = getpid();
  server->pid_ = fork();
  if (server->pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != test_process) _exit(0);  // it died before prctl
    *server->log_ = LogLines();
    close(ready[0]);
    dup2(setup.stderr_fd >= 0 ? setup.stderr_fd : log_end.fd(), STDERR_FILENO);
    log_end.Close();
    LiveAsServer(setup, server->shared_, ready[1]);
  }
  const int fork_error = errno;
  close(ready[1]);
  if (server->pid_ < 0) {
    server->reaped_ = true;
    return absl::ErrnoToStatus(fork_error, "fork");
  }
  server->pid_fd_ = OpenPidFd(server->pid_);
  absl::Status is_ready = server->AwaitReady(ready[0]);
  if (!is_ready.ok()) return is_ready;
  return server;
}

void TestServer::LiveAsServer(const Setup& setup, Shared* shared,
                              int ready_fd) {
  ::testing::UnitTest::GetInstance()->listeners().Append(
      new FailureForwarder(&shared->failures));
  int code = static_cast<int>(server::ExitCode::kBug);
  try {
    code = static_cast<int>(Serve(setup, shared, ready_fd));
  } catch (const std::exception& exception) {
    ADD_FAILURE() << "exception in the server process: " << exception.what();
  } catch (...) {
    ADD_FAILURE() << "exception in the server process";
  }
  std::fflush(nullptr);
  _exit(code);
}

server::ExitCode TestServer::Serve(const Setup& setup, Shared* shared,
                                   int ready_fd) {
  if (setup.before) setup.before();
  Census before = Census::Take();
  before.Forget(ready_fd);
  // The server closes these.
  std::vector<server::InheritedListener> inherited;
  for (int fd : setup.inherited) {
    before.Forget(fd);
    inherited.push_back({net::Socket::Adopt(fd), ""});
  }
  for (int fd : setup.given) before.Forget(fd);

  auto server = server::TcpServer::Create(setup.options, setup.handler,
                                          std::move(inherited));
  std::string message = "ready";
  if (server.ok()) {
    for (const net::Endpoint& endpoint : (*server)->endpoints()) {
      absl::StrAppend(&message, " ", endpoint.ToString());
    }
  } else {
    message = absl::StrCat("error ", server.status().raw_code(), " ",
                           server.status().message());
  }
  if (write(ready_fd, message.data(), message.size()) < 0) std::abort();
  close(ready_fd);
  if (!server.ok()) {
    // Create() may have failed before or after it took these over.
    Census after = Census::Take();
    for (int fd : setup.given) after.Forget(fd);
    for (const std::string& leak : Census::Difference(before, after)) {
      shared->failures.Add("Create() failed, but left this behind: " + leak);
    }
    return server::ExitCode::kSystemRefused;
  }

  const absl::Status stopped = setup.run(**server);
  shared->run_status.Add(stopped.ToString());
  shared->totals = (*server)->totals();
  shared->log_lines_dropped = (*server)->log_lines_dropped();
  server->reset();
  if (setup.after) setup.after();
  for (const std::string& leak : Census::Difference(before, Census::Take())) {
    shared->leaks.Add(leak);
  }
  shared->complete = true;
  return stopped.ok() ? server::ExitCode::kServed
                      : server::ExitCode::kSystemRefused;
}

// Reads once: the message is written by one call, and is shorter than PIPE_BUF.
absl::Status TestServer::AwaitReady(int ready_fd) {
  pollfd waiting[] = {{ready_fd, POLLIN, 0}, {pid_fd_, POLLIN, 0}};
  TEMP_FAILURE_RETRY(
      poll(waiting, 2, MillisecondsUntil(net::After(net::Now(), kTimeout))));
  char message[4096];
  ssize_t length = 0;
  if (waiting[0].revents != 0) {
    length = TEMP_FAILURE_RETRY(read(ready_fd, message, sizeof(message)));
  }
  const std::string text(message,
                         static_cast<size_t>(std::max<ssize_t>(length, 0)));
  std::vector<std::string> words = absl::StrSplit(text, ' ');
  if (words[0] == "ready") {
    for (size_t i = 1; i < words.size(); ++i) {
      endpoints_.push_back(*net::Endpoint::Parse(words[i]));
    }
    return absl::OkStatus();
  }
  int code;
  if (words[0] == "error" && absl::SimpleAtoi(words[1], &code)) {
    AwaitExit();
    return absl::Status(static_cast<absl::StatusCode>(code),
                        text.substr(words[0].size() + words[1].size() + 2));
  }
  const std::string state = Explain();
  const Report report = AwaitExit();
  return absl::InternalError(
      absl::StrCat("the server process did not become ready, and ",
                   report.exit_status.ToString(), "\n", state, report.log));
}

TestServer::TestServer() : log_(std::make_unique<LogLines>()) {}

TestServer::~TestServer() {
  if (!reaped_) Stop();
  KillOrphans();
  if (pid_fd_ >= 0) close(pid_fd_);
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
}

void TestServer::Signal(int signal) {
  if (reaped_ || kill(pid_, signal) < 0) {
    ADD_FAILURE() << "the server process had ended before signal " << signal
                  << " was sent";
  }
}

std::vector<pid_t> TestServer::children() const {
  return ChildrenWhoseState(pid_, [](char state) { return state != 'Z'; });
}

std::vector<pid_t> TestServer::zombies() const {
  return ChildrenWhoseState(pid_, [](char state) { return state == 'Z'; });
}

absl::StatusOr<std::string> TestServer::AwaitLogLine(absl::string_view text,
                                                     absl::Duration timeout) {
  return log_->Await(text, timeout);
}

absl::Status TestServer::AwaitLogLines(int count, absl::string_view text,
                                       absl::Duration timeout) {
  return log_->AwaitAll(count, text, timeout);
}

absl::StatusOr<LoggedEvent> TestServer::AwaitEvent(
    absl::string_view name, const LoggedEvent::Fields& fields,
    absl::Duration timeout) {
  return log_->AwaitEvent(name, fields, timeout);
}

absl::StatusOr<std::vector<LoggedEvent>> TestServer::AwaitEvents(
    int count, absl::string_view name, absl::Duration timeout) {
  return log_->AwaitEvents(count, name, timeout);
}

std::string TestServer::log() { return log_->All(); }

TestServer::Report TestServer::Stop() {
  if (!reaped_) Signal(SIGTERM);
  return AwaitExit();
}

TestServer::Report TestServer::AwaitExit() {
  if (!reaped_) {
    if (!AwaitEnd(net::After(net::Now(), stop_timeout_))) {
      ADD_FAILURE() << "the server did not end within "
                    << absl::FormatDuration(stop_timeout_) << ":\n"
                    << Explain() << log();
      KillAndKeepOrphans();
      KillOrphans();
    }
    Reap();
    for (const std::string& failure : shared_->failures.Get()) {
      ADD_FAILURE() << "in the server process " << pid_ << ": " << failure;
    }
    CheckReport();
  }
  return MakeReport();
}

// Does nothing for a process that was killed or crashed: it reported nothing.
void TestServer::CheckReport() {
  if (!shared_->complete) return;
  if (!shared_->totals.Balanced()) {
    ADD_FAILURE() << "in the server process " << pid_
                  << " a connection had no outcome, or two";
  }
  if (may_leave_traces_) return;
  for (const std::string& leak : Leaks()) {
    ADD_FAILURE() << "in the server process " << pid_ << ": " << leak;
  }
}

void TestServer::Kill() {
  if (reaped_) return;
  KillAndKeepOrphans();
  Reap();
}

// Stops the server first, so that it forks no child while they are listed.
void TestServer::KillAndKeepOrphans() {
  siginfo_t ignored;
  kill(pid_, SIGSTOP);
  waitid(P_PID, static_cast<id_t>(pid_), &ignored,
         WSTOPPED | WEXITED | WNOWAIT);
  for (pid_t orphan : DescendantsOf(pid_)) {
    const int pid_fd = OpenPidFd(orphan);
    if (pid_fd >= 0) orphans_.push_back(pid_fd);
  }
  kill(pid_, SIGKILL);
}

// Reads the log while it waits: a full pipe could keep a handler from ending.
bool TestServer::AwaitEnd(net::Instant deadline) {
  for (;;) {
    log_->Read();
    pollfd waiting[] = {{pid_fd_, POLLIN, 0}, {log_->fd(), POLLIN, 0}};
    const int ready =
        TEMP_FAILURE_RETRY(poll(waiting, 2, MillisecondsUntil(deadline)));
    if (waiting[0].revents != 0) return true;
    if (ready == 0) return false;
  }
}

void TestServer::Reap() {
  int wait_status;
  rusage usage;
  if (TEMP_FAILURE_RETRY(wait4(pid_, &wait_status, 0, &usage)) == pid_) {
    exit_status_ = proc::ExitStatus::FromWait(wait_status, usage);
  }
  reaped_ = true;
}

void TestServer::KillOrphans() {
  for (int orphan : orphans_) {
    syscall(SYS_pidfd_send_signal, orphan, SIGKILL, nullptr, 0);
    pollfd dying = {orphan, POLLIN, 0};
    TEMP_FAILURE_RETRY(
        poll(&dying, 1, MillisecondsUntil(net::After(net::Now(), kTimeout))));
    close(orphan);
  }
  orphans_.clear();
}

std::string TestServer::Explain() const {
  std::string text =
      absl::StrCat("server process: ", DescribeProcess(pid_), "\n");
  for (pid_t descendant : DescendantsOf(pid_)) {
    absl::StrAppend(&text, "descendant: ", DescribeProcess(descendant), "\n");
  }
  return text + "log:\n";
}

// A program that took over is meant to stay.
std::vector<std::string> TestServer::Leaks() {
  std::vector<std::string> leaks = shared_->leaks.Get();
  const auto stays = [this](const std::string& leak) {
    const std::vector<std::string> words = absl::StrSplit(leak, ' ');
    int pid;
    return words[0] == "child" && absl::SimpleAtoi(words[1], &pid) &&
           !EventsOf(log_->All(), "upgrade-completed",
                     {{"brood.child.pid", pid}})
                .empty();
  };
  leaks.erase(std::remove_if(leaks.begin(), leaks.end(), stays), leaks.end());
  return leaks;
}

TestServer::Report TestServer::MakeReport() {
  Report report;
  report.exit_status = exit_status_;
  report.complete = shared_->complete;
  report.run_status = absl::StrJoin(shared_->run_status.Get(), "");
  report.totals = shared_->totals;
  report.balanced = shared_->totals.Balanced();
  report.log_lines_dropped = shared_->log_lines_dropped;
  report.leaks = Leaks();
  report.log = log_->All();
  return report;
}

}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/testing/handler_conformance.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"

namespace brood::testing {
namespace {

using server::ExitCode;

constexpr size_t kManyClients = 25;
constexpr size_t kMostClients = 2 * kManyClients;
// A handler that waits for its client without sleeping uses this much processor
// time within the silence; a handler that sleeps does not.
constexpr absl::Duration kBusy = absl::Milliseconds(50);
// A client that sends without reading gives up after kFlood bytes, or when the
// server has taken no byte for kStall.
constexpr size_t kFlood = 8 << 20;
constexpr absl::Duration kStall = absl::Milliseconds(200);
// Up to kSingleBytes bytes of a request are sent one at a time; later ones are
// sent together. After each of the first kFirstBytes bytes the client waits
// until the handler sleeps again, for kTaken at most.
constexpr size_t kFirstBytes = 64;
constexpr size_t kSingleBytes = 4096;
constexpr absl::Duration kTaken = absl::Milliseconds(20);

// One run of the handler, as recorded by the process that it runs in.
struct Run {
  std::atomic<pid_t> pid{0};
  std::atomic<bool> returned{false};
  std::atomic<ExitCode> code{ExitCode::kHandlerFailed};  // as if it threw

  bool begun() const { return pid != 0; }
  // A handler may also exit, or be ended by a signal.
  bool over() const {
    if (returned) return true;
    const ProcStat stat = ReadStat(absl::StrCat("/proc/", pid.load()));
    return stat.name.empty() || stat.state == 'Z' || stat.state == 'X';
  }
  bool asleep() const {
    return ReadStat(absl::StrCat("/proc/", pid.load())).state == 'S';
  }
};

struct Runs {
  std::atomic<size_t> count{0};
  std::array<Run, kMostClients> runs;
};

server::Handler Watched(server::Handler handler, Runs* runs) {
  return [handler = std::move(handler), runs](net::Connection& connection) {
    Run& run = runs->runs.at(runs->count++);
    run.pid = getpid();
    struct Return {
      ~Return() { run.returned = true; }
      Run& run;
    } at_the_end{run};
    run.code = handler(connection);
    return run.code.load();
  };
}

std::string Quote(absl::string_view bytes) {
  return absl::StrCat("\"", absl::CHexEscape(bytes.substr(0, 200)), "\" (",
                      bytes.size(), " bytes)");
}

// A server with the handler, its clients (one at a time), and the complaints.
class Trial {
 public:
  using Client = absl::FunctionRef<void(TestClient&)>;
  // Manner is how a request is sent.
  enum class Manner { kAtOnce, kByteAtATime, kHalfCloseWhenAsleep };

  explicit Trial(const HandlerUnderTest& handler) : handler_(handler) {}

  absl::Status Start();
  const HandlerUnderTest& handler() const { return handler_; }

  // Connects a client, calls `client` with it and closes its connection; then
  // the handler must end.
  void Visit(Client client);
  // Visits with a client that sends the request and must get the reply.
  void Ask(Manner manner = Manner::kAtOnce);

  // The next five are for the client of a visit.

  // Waits until the handler was called.
  void AwaitBegun();
  // Waits until the handler sleeps or has ended, for `timeout` at most.
  void AwaitAsleep(absl::Duration timeout);
  // Waits for the silence, while the handler must sleep.
  void StaySilent();
  // Sends the request and returns the reply.
  std::string Converse(TestClient& client, Manner manner);
  // Complains unless `got` is the reply.
  void ExpectReply(absl::string_view got);

  // Returns the run of the handler in the latest visit.
  const Run& run() const { return runs_->runs.at(visits_ - 1); }
  // Adds a complaint.
  void Complain(std::string complaint) {
    complaints_.push_back(std::move(complaint));
  }
  // Stops the server, and returns all complaints.
  absl::Status Verdict();

 private:
  void SendRequest(TestClient& client, Manner manner);

  const HandlerUnderTest& handler_;
  Shared<Runs> runs_;
  size_t visits_ = 0;
  absl::optional<std::string> reply_;
  std::vector<std::string> complaints_;
  std::unique_ptr<TestServer> server_;
};

absl::Status Trial::Start() {
  TestServer::Setup setup = handler_.setup;
  setup.handler = Watched(handler_.make(), &*runs_);
  absl::StatusOr<std::unique_ptr<TestServer>> server =
      TestServer::Start(std::move(setup));
  if (!server.ok()) return server.status();
  server_ = *std::move(server);
  reply_ = handler_.reply;
  if (!reply_.has_value()) {
    Visit([&](TestClient& client) {
      reply_ = Converse(client, Manner::kHalfCloseWhenAsleep);
    });
  }
  return absl::OkStatus();
}

void Trial::Visit(Client client) {
  absl::StatusOr<TestClient> visitor =
      TestClient::Connect(server_->endpoint(), handler_.timeout);
  if (!visitor.ok()) return Complain(visitor.status().ToString());
  ++visits_;
  client(*visitor);
  visitor->Close();
  AwaitBegun();
  if (!run().begun()) return;
  if (Await([&] { return run().over(); }, handler_.timeout)) return;
  Complain(absl::StrCat(
      "the handler did not end within ", absl::FormatDuration(handler_.timeout),
      " after its client had gone: ", DescribeProcess(run().pid)));
  kill(run().pid, SIGKILL);
}

void Trial::Ask(Manner manner) {
  Visit([&](TestClient& client) { ExpectReply(Converse(client, manner)); });
}

void Trial::AwaitBegun() {
  if (!Await([&] { return run().begun(); }, handler_.timeout)) {
    Complain("the handler was not called");
  }
}

void Trial::AwaitAsleep(absl::Duration timeout) {
  AwaitBegun();
  Await([&] { return run().asleep() || run().over(); }, timeout);
}

// Returns early if the handler has ended or does not sleep.
void Trial::StaySilent() {
  AwaitBegun();
  const pid_t pid = run().pid;
  const auto used = [pid] {
    return TryCpuTimeOf(pid).value_or(absl::ZeroDuration());
  };
  const absl::Duration before = used();
  const auto awake = [&] { return used() - before >= kBusy; };
  if (!Await([&] { return run().over() || awake(); }, handler_.silence)) return;
  if (!run().over()) {
    Complain("the handler does not sleep while its client is silent");
  } else if (!handler_.request.empty()) {
    Complain("the handler did not wait for its client to speak");
  }
}

// Ignores errors of sending: the handler may end before it has read the whole
// request, and a wrong reply is found by ExpectReply().
void Trial::SendRequest(TestClient& client, Manner manner) {
  const std::string& request = handler_.request;
  if (manner == Manner::kByteAtATime) {
    const int at_once = 1;
    setsockopt(client.socket().fd(), IPPROTO_TCP, TCP_NODELAY, &at_once,
               sizeof(at_once));
    const size_t single = std::min(request.size(), kSingleBytes);
    for (size_t i = 0; i < single; ++i) {
      if (!client.Send(request.substr(i, 1)).ok()) break;
      if (i < kFirstBytes) AwaitAsleep(kTaken);
    }
    client.Send(request.substr(single)).IgnoreError();
  } else {
    client.Send(request).IgnoreError();
  }
  const bool now = manner != Manner::kHalfCloseWhenAsleep;
  if (!now) AwaitAsleep(handler_.timeout / 2);
  client.ShutdownWrite().IgnoreError();
}

// Sends in a thread: a long request does not fit into the buffers of the
// connection, and the handler may reply before it has read all of it.
std::string Trial::Converse(TestClient& client, Manner manner) {
  const std::future<void> sending =
      std::async(std::launch::async, [&] { SendRequest(client, manner); });
  const absl::StatusOr<std::string> reply = client.ReadUntilEof();
  sending.wait();
  if (reply.ok()) return *reply;
  Complain(absl::StrCat("no whole reply: ", reply.status().ToString()));
  return "";
}

void Trial::ExpectReply(absl::string_view got) {
  if (got == *reply_) return;
  Complain(
      absl::StrCat("the reply was ", Quote(got), ", not ", Quote(*reply_)));
}

absl::Status Trial::Verdict() {
  const TestServer::Report report = server_->Stop();
  for (const Run& run : runs_->runs) {
    if (!run.returned) continue;
    const ExitCode code = run.code;
    if (code == ExitCode::kHandlerFailed || code == ExitCode::kBug) {
      Complain(absl::StrCat(
          "the handler threw, or returned a code for a failure of its ",
          "own: ", server::Meaning(code)));
    }
  }
  for (int signal = 1; signal < NSIG; ++signal) {
    if (report.totals.crashed_by.at(signal) == 0) continue;
    Complain(absl::StrCat("the handler was ended by SIG",
                          sigabbrev_np(signal) == nullptr
                              ? absl::StrCat(signal)
                              : sigabbrev_np(signal)));
  }
  if (report.totals.killed != 0)
    Complain("the handler had to be killed at the end");
  const absl::Status clean = CheckClean(report);
  if (!clean.ok()) Complain(std::string(clean.message()));
  if (complaints_.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      absl::StrJoin(complaints_, "\n"), "\nlog of the server:\n", report.log));
}

absl::Status Try(const HandlerUnderTest& handler,
                 absl::FunctionRef<void(Trial&)> claim) {
  Trial trial(handler);
  absl::Status started = trial.Start();
  if (!started.ok()) return started;
  claim(trial);
  trial.Ask();  // the next client
  return trial.Verdict();
}

}  // namespace

absl::Status CheckClosesAtOnce(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    trial.Visit([](TestClient& client) { client.Close(); });
    trial.Visit([&](TestClient& client) {
      client.Send(trial.handler().request).IgnoreError();
      client.Close();
    });
  });
}

absl::Status CheckResetsAtOnce(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    trial.Visit([](TestClient& client) { client.Reset(); });
    trial.Visit([&](TestClient& client) {
      trial.AwaitAsleep(kStall);
      client.Reset();
    });
    trial.Visit([&](TestClient& client) {
      client.Send(trial.handler().request).IgnoreError();
      client.Reset();
    });
  });
}

absl::Status CheckResetsInTheMiddle(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    const std::string& request = trial.handler().request;
    trial.Visit([&](TestClient& client) {
      client.Send(request.substr(0, request.size() / 2)).IgnoreError();
      trial.AwaitAsleep(kStall);
      client.Reset();
    });
  });
}

absl::Status CheckHalfCloses(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    trial.Ask();
    trial.Ask(Trial::Manner::kHalfCloseWhenAsleep);
  });
}

absl::Status CheckByteAtATime(const HandlerUnderTest& handler) {
  return Try(handler,
             [](Trial& trial) { trial.Ask(Trial::Manner::kByteAtATime); });
}

absl::Status CheckSilence(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    trial.Visit([&](TestClient& client) {
      trial.StaySilent();
      client.Close();
    });
    trial.Visit([&](TestClient& client) {
      trial.StaySilent();
      trial.ExpectReply(
          trial.Converse(client, Trial::Manner::kHalfCloseWhenAsleep));
    });
  });
}

absl::Status CheckFlood(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    std::string flood = trial.handler().request;
    if (flood.empty()) flood = "x";
    while (flood.size() < 1 << 16) flood += flood;
    trial.Visit([&](TestClient& client) {
      for (size_t sent = 0; sent < kFlood; sent += flood.size()) {
        const net::Instant deadline = net::After(net::Now(), kStall);
        if (!net::WriteFull(client.socket(), flood, deadline).ok()) break;
      }
    });
  });
}

absl::Status CheckManyInARow(const HandlerUnderTest& handler) {
  return Try(handler, [](Trial& trial) {
    for (size_t i = 0; i < kManyClients; ++i) trial.Ask();
  });
}

}  // namespace brood::testing

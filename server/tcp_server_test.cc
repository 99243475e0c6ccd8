// SPDX-License-Identifier: Apache-2.0

#include "brood/server/tcp_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/unique_fd.h"
#include "brood/server/handler.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/testing/fakes/captured_log.h"
#include "brood/testing/fuzz/staged_process.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::CapturedLog;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StagedProcess;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

constexpr char kAnyPort[] = "127.0.0.1:0";

ExitCode Serve(net::Connection& /*connection*/) { return ExitCode::kServed; }

// Tests a server that takes turns in this process, and gets no connection.
class TcpServerTest : public ::brood::testing::LeakCheck {
 protected:
  // StagedProcess keeps one descriptor permanently, which is not a leak of a
  // test.
  static void SetUpTestSuite() { const StagedProcess first({}); }

  TcpServerTest() {
    options_.listen = {kAnyPort};
    options_.log.level = LogLevel::kOff;
  }

  absl::StatusOr<std::unique_ptr<TcpServer>> Create(
      std::vector<InheritedListener> inherited = {}) const {
    return TcpServer::Create(options_, Serve, std::move(inherited));
  }

  static net::UniqueFd ListeningSocket() {
    net::UniqueFd fd =
        net::UniqueFd::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(listen(fd.fd(), 1), 0);
    return fd;
  }
  static int PortOf(const net::UniqueFd& listener) {
    sockaddr_storage address = {};
    socklen_t length = sizeof(address);
    getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &length);
    return net::Endpoint::FromSockaddr(address).port();
  }
  static bool Listens(const net::UniqueFd& listener) {
    int listens = -1;
    socklen_t length = sizeof(listens);
    EXPECT_EQ(
        getsockopt(listener.fd(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &length),
        0);
    return listens == 1;
  }
  // Returns a process that has ended and was not reaped yet.
  static pid_t CreateZombie() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    siginfo_t ignored;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(pid), &ignored,
                                        WEXITED | WNOWAIT)),
              0);
    return pid;
  }
  static bool HasChildren() {
    siginfo_t ignored;
    return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
           0;
  }
  // Returns whether this process has a handler for `signal`.
  static bool IsHandled(int signal) {
    struct sigaction action = {};
    EXPECT_EQ(sigaction(signal, nullptr, &action), 0);
    return action.sa_handler != SIG_DFL;
  }
  static bool IsSubreaper() {
    int is_subreaper = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
    return is_subreaper != 0;
  }
  static bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

  Options options_;
};

TEST_F(TcpServerTest, ReportsTheEndpointsThatTheKernelChose) {
  options_.listen = {"127.0.0.1:0", "[::1]:0"};
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  ASSERT_THAT((*server)->endpoints(), SizeIs(2));
  EXPECT_NE((*server)->endpoints()[0].port(), 0);
  EXPECT_THAT((*server)->endpoints()[1].ToString(), HasSubstr("[::1]:"));
}

TEST_F(TcpServerTest, NamesTheFieldThatIsWrong) {
  options_.max_connections = 0;
  EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("max_connections=0")));
}

TEST_F(TcpServerTest, NamesTheHandlerThatIsEmpty) {
  EXPECT_THAT(
      TcpServer::Create(options_, nullptr),
      StatusIs(absl::StatusCode::kInvalidArgument, StartsWith("handler: ")));
}

TEST_F(TcpServerTest, RefusesASecondServerThatCanBeReplaced) {
  options_.upgrade.command = {"/program"};
  for (int round = 0; round < 2; ++round) {
    const auto first = Create();
    ASSERT_THAT(first, IsOk()) << "the claim of a server ends with it";
    EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kInvalidArgument,
                                   StartsWith("upgrade.command=/program: ")));
    Options other = options_;
    other.upgrade.command.clear();
    EXPECT_THAT(TcpServer::Create(other, Serve), IsOk());
  }
}

// A server whose creation fails after the claim must not keep it.
TEST_F(TcpServerTest, ClaimsNothingIfItIsNotCreated) {
  options_.upgrade.command = {"/program"};
  options_.listen = {"192.0.2.1:7000"};
  EXPECT_FALSE(Create().ok());
  options_.listen = {kAnyPort};
  EXPECT_THAT(Create(), IsOk());
}

TEST_F(TcpServerTest, NamesTheEndpointThatIsInUse) {
  const auto first = Create();
  ASSERT_THAT(first, IsOk());
  options_.listen = {(*first)->endpoints()[0].ToString()};
  EXPECT_THAT(Create().status().message(), HasSubstr(options_.listen[0]));
}

TEST_F(TcpServerTest, OwnsInheritedListenersWhetherItSucceedsOrNot) {
  options_.listen = {"inherited"};
  for (const bool valid : {true, false}) {
    options_.max_size = valid ? 1024 : 0;
    net::UniqueFd listener = ListeningSocket();
    const int fd = listener.fd();
    std::vector<InheritedListener> inherited;
    inherited.push_back({std::move(listener), ""});
    {
      const auto server = Create(std::move(inherited));
      EXPECT_EQ(server.ok(), valid);
      EXPECT_EQ(IsOpen(fd), valid);
    }
    EXPECT_FALSE(IsOpen(fd));
  }
}

TEST_F(TcpServerTest, StopsAtOnceWhenItIsIdle) {
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
  (*server)->RequestDrain();
  EXPECT_THAT((*server)->Run(), IsOk());
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(false)) << "it stays stopped";
  EXPECT_TRUE((*server)->totals().Balanced());
}

TEST_F(TcpServerTest, HasADescriptorThatIsReadableAfterARequest) {
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  ASSERT_THAT((*server)->Step(), IsOkAndHolds(true));
  const absl::StatusOr<int> fd = (*server)->PollableFd();
  ASSERT_THAT(fd, IsOk());
  pollfd ready = {*fd, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  (*server)->RequestDrain();
  EXPECT_EQ(poll(&ready, 1, 10000), 1);
}

TEST_F(TcpServerTest, RefusesAnUpgradeWithoutACommand) {
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  (*server)->RequestUpgrade();
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
  EXPECT_EQ((*server)->upgrades_failed(), 0u);
}

TEST_F(TcpServerTest, CountsAnUpgradeWhoseProgramCannotBeStarted) {
  options_.upgrade.command = {"/no/such/program"};
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  (*server)->RequestUpgrade();
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
  EXPECT_EQ((*server)->upgrades_failed(), 1u);
}

TEST_F(TcpServerTest, ServesTheListenersOfTheProgramThatItReplaces) {
  const StagedProcess staged({absl::StrCat("BROOD_UPGRADE=", kAnyPort, "\n")});
  const net::UniqueFd listener = ListeningSocket();
  const int ready_fd = StagedProcess::kFirst;
  ASSERT_EQ(dup2(listener.fd(), ready_fd + 1), ready_fd + 1);
  options_.upgrade.command = {"/program"};
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  EXPECT_EQ((*server)->endpoints()[0].port(), PortOf(listener));
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
  eventfd_t count = 0;
  EXPECT_EQ(eventfd_read(ready_fd, &count), 0);
  EXPECT_EQ(count, 1u) << "it has reported that it is ready";
}

// The old program uses its copies until it has reported that they are closed.
TEST_F(TcpServerTest, EndsTheListeningUnlessTheProgramThatItReplacesGoesOn) {
  options_.upgrade.command = {"/program"};
  for (const bool goes_on : {true, false}) {
    const StagedProcess staged(
        {absl::StrCat("BROOD_UPGRADE=", kAnyPort, "\tbound\n")});
    const net::UniqueFd listener = ListeningSocket();
    const int ready_fd = StagedProcess::kFirst;
    ASSERT_EQ(dup2(listener.fd(), ready_fd + 1), ready_fd + 1);
    const auto server = Create();
    ASSERT_THAT(server, IsOk());
    if (!goes_on) {
      EXPECT_EQ(eventfd_write(ready_fd, Handshake::kReleased), 0);
    }
    (*server)->RequestDrain();
    EXPECT_THAT((*server)->Run(), IsOk());
    EXPECT_EQ(Listens(listener), goes_on);
  }
}

// They belong to another server of this process, which can be replaced.
TEST_F(TcpServerTest, LeavesTheListenersOfAnotherProgramWithoutACommand) {
  const StagedProcess staged({absl::StrCat("BROOD_UPGRADE=", kAnyPort, "\n")});
  ASSERT_THAT(Create(), IsOk());
  EXPECT_NE(getenv("BROOD_UPGRADE"), nullptr);
}

TEST_F(TcpServerTest, TakesSignalsUnlessTheyAreTheEmbedders) {
  for (const bool take : {true, false}) {
    options_.take_signals = take;
    const auto server = Create();
    ASSERT_THAT(server, IsOk());
    EXPECT_EQ(IsHandled(SIGTERM), take);
    EXPECT_FALSE(IsHandled(SIGHUP)) << "there is no command for an upgrade";
  }
}

TEST_F(TcpServerTest, ReapsChildrenOfOthersOnlyIfItOwnsAllChildren) {
  for (const bool owns_all : {false, true}) {
    options_.owns_all_children = owns_all;
    const auto server = Create();
    ASSERT_THAT(server, IsOk());
    const pid_t child = CreateZombie();
    EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
    EXPECT_EQ(waitpid(child, nullptr, WNOHANG), owns_all ? -1 : child);
  }
}

TEST_F(TcpServerTest, AdoptsOrphansOnlyIfItIsToDoSo) {
  for (const bool init : {false, true}) {
    options_.init = init;
    {
      const auto server = TcpServer::Create(options_, Serve);
      ASSERT_THAT(server, IsOk());
      EXPECT_EQ(IsSubreaper(), init);
    }
    EXPECT_FALSE(IsSubreaper()) << "it is given back";
  }
}

// If the queue is full when a child ends, the child is reaped late.
TEST_F(TcpServerTest, WarnsOfAQueueOfSignalsThatIsShorterThanTheCap) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  const absl::Cleanup restore = [&] { setrlimit(RLIMIT_SIGPENDING, &before); };
  const rlimit ten = {10, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &ten), 0);
  options_.log.level = LogLevel::kWarning;
  options_.log.format = LogFormat::kJson;
  for (const int cap : {10, 11}) {
    options_.max_connections = cap;
    CapturedLog captured;
    EXPECT_THAT(Create(), IsOk());
    EXPECT_EQ(captured.End(),
              cap > 10 ? std::vector<std::string>{"signal-queue-too-small"}
                       : std::vector<std::string>());
  }
}

TEST_F(TcpServerTest, StampsItsLinesUnlessTheTimeIsOff) {
  options_.log.level = LogLevel::kInfo;
  for (const bool time : {true, false}) {
    options_.log.time = time;
    CaptureStderr();
    EXPECT_THAT(Create(), IsOk());
    const std::string lines = GetCapturedStderr();
    ASSERT_FALSE(lines.empty());
    EXPECT_EQ(absl::ascii_isdigit(static_cast<unsigned char>(lines[0])), time)
        << lines;
  }
}

TEST_F(TcpServerTest, CreatesAZygoteBeforeItServes) {
  options_.strategy = StrategyKind::kZygote;
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  EXPECT_TRUE(HasChildren());
}

// A sanitizer needs more addresses than any limit here would leave.
#if !defined(ABSL_HAVE_ADDRESS_SANITIZER) && \
    !defined(ABSL_HAVE_THREAD_SANITIZER)
TEST_F(TcpServerTest, FailsWithoutMemoryForItsTables) {
  options_.max_connections = 1'000'000;
  const pid_t child = fork();
  if (child == 0) {
    const rlimit little = {32 << 20, 32 << 20};
    if (setrlimit(RLIMIT_AS, &little) < 0) _exit(1);
    _exit(absl::IsResourceExhausted(Create().status()) ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
}
#endif

// Processes that the strategy created ahead end with the server.
TEST_F(TcpServerTest, ReturnsTheExceptionOfACopyOfAnOption) {
  struct Thrower {
    explicit Thrower(const bool* is_armed) : armed(is_armed) {}
    Thrower(const Thrower& other) : armed(other.armed) {
      if (*armed) throw std::runtime_error("no copy");
    }
    void operator()(const ConnectionReport& /*report*/) const {}
    const bool* armed;
  };
  bool armed = false;
  options_.on_connection_end = Thrower(&armed);
  armed = true;
  EXPECT_THAT(Create(),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("no copy")));
}

TEST_F(TcpServerTest, CreatesAndDestroysEveryStrategy) {
  for (const StrategyKind kind : AllStrategyKinds()) {
    options_.strategy = kind;
    const auto server = Create();
    ASSERT_THAT(server, IsOk()) << NameOf(kind);
    EXPECT_THAT((*server)->Step(), IsOkAndHolds(true)) << NameOf(kind);
  }
}

}  // namespace
}  // namespace brood::server

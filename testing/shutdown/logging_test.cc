// SPDX-License-Identifier: Apache-2.0

// The log can never stop the service: not when its reader stalls or closes the
// pipe, when the disk is full, or without any standard error.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "brood/net/socket.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr int kClients = 200 / kCostOfFork;
// Three lines for each connection, and three for the server: listening,
// draining, stopped.
constexpr uint64_t kEveryLine = 3 * kClients + 3;

class LoggingTest : public StrategyTest {
 protected:
  void Visit(const TestServer& server, int count) {
    for (int i = 0; i < count; ++i) {
      TestClient client = ConnectTo(server);
      ASSERT_THAT(client.Echo("hello"), IsOk()) << "client " << i;
    }
  }

  // Serves clients by a server whose standard error is `log`. Returns its
  // report.
  TestServer::Report ServeWithLog(int log) {
    TestServer::Setup setup;
    setup.stderr_fd = log;
    const auto server = StartServer(std::move(setup));
    Visit(*server, kClients);
    TestServer::Report report = StopAndExpectClean(*server);
    EXPECT_EQ(report.totals.ended_ok, uint64_t{kClients});
    return report;
  }
};

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    reader = net::Socket::Adopt(ends[0]);
    writer = net::Socket::Adopt(ends[1]);
  }

  // Writes until the pipe has no room for another byte.
  void Fill() {
    fcntl(writer.fd(), F_SETPIPE_SZ, 4096);
    fcntl(writer.fd(), F_SETFL, O_NONBLOCK);
    while (write(writer.fd(), "x", 1) == 1) {
    }
    fcntl(writer.fd(), F_SETFL, 0);
  }

  // Reads and returns what is in the pipe.
  std::string Drain() {
    fcntl(reader.fd(), F_SETFL, O_NONBLOCK);
    std::string text;
    char piece[4096];
    ssize_t got;
    while ((got = read(reader.fd(), piece, sizeof(piece))) > 0) {
      text.append(piece, static_cast<size_t>(got));
    }
    return text;
  }

  net::Socket reader, writer;  // own the descriptors, which are no sockets
};

TEST_P(LoggingTest, DropsOnlyLinesIfTheReaderStalls) {
  Pipe pipe;
  pipe.Fill();
  TestServer::Setup setup;
  setup.options.log.format = server::LogFormat::kText;
  setup.stderr_fd = pipe.writer.fd();
  const auto server = StartServer(std::move(setup));
  Visit(*server, kClients);

  // The reader reads again. The next line reports how many lines were dropped.
  ExpectRest(*server);  // or this line might come while the pipe is emptied
  pipe.Drain();
  Visit(*server, 1);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, uint64_t{kClients + 1});
  EXPECT_GT(report.log_lines_dropped, 0u);
  const std::string text = pipe.Drain();
  EXPECT_THAT(text,
              ContainsRegex("^[^ ]+Z brood.[0-9]+. warning: [0-9]+ log lines "
                            "were dropped\n"));
  EXPECT_THAT(text, HasSubstr("accepted " + std::to_string(kClients + 1)));
  EXPECT_THAT(text, HasSubstr("log lines dropped " +
                              std::to_string(report.log_lines_dropped)));
}

TEST_P(LoggingTest, DropsOnlyLinesIfTheReaderHasGone) {
  Pipe pipe;
  pipe.reader.Close();
  EXPECT_EQ(ServeWithLog(pipe.writer.fd()).log_lines_dropped,
            kEveryLine + row().own_lines);
}

TEST_P(LoggingTest, DropsOnlyLinesIfTheDiskIsFull) {
  const auto full = net::Socket::Adopt(open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  EXPECT_EQ(ServeWithLog(full.fd()).log_lines_dropped,
            kEveryLine + row().own_lines);
}

// The numbers from `first` on are free then. Files that the server opens must
// not get log lines.
TEST_P(LoggingTest, ServesWithoutStandardDescriptors) {
  for (int first : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    SCOPED_TRACE("from " + std::to_string(first));
    TestServer::Setup setup;
    setup.before = [first] {
      for (int fd = first; fd <= STDERR_FILENO; ++fd) close(fd);
    };
    const auto server = StartServer(std::move(setup));
    Visit(*server, kClients);
    const TestServer::Report report = StopAndExpectClean(*server);
    EXPECT_EQ(report.totals.ended_ok, uint64_t{kClients});
    EXPECT_EQ(report.log_lines_dropped, kEveryLine + row().own_lines);
  }
}

// Closes the descriptors after Create(), so that clients get their numbers.
TEST_P(LoggingTest, NeverSendsTheLogToAClient) {
  for (int first : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    SCOPED_TRACE("from " + std::to_string(first));
    TestServer::Setup setup;
    setup.run = [first](server::TcpServer& server) {
      std::array<int, 3> kept;
      for (int fd = first; fd <= STDERR_FILENO; ++fd) {
        kept[static_cast<size_t>(fd)] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
        close(fd);
      }
      absl::Status stopped = server.Run();
      for (int fd = first; fd <= STDERR_FILENO; ++fd) {
        dup2(kept[static_cast<size_t>(fd)], fd);
        close(kept[static_cast<size_t>(fd)]);
      }
      return stopped;
    };
    const auto server = StartServer(std::move(setup));
    std::vector<TestClient> clients;
    for (int i = 0; i < 5; ++i) {
      clients.push_back(ConnectTo(*server));
      ASSERT_THAT(clients.back().Echo("hello"), IsOk());
    }
    clients.clear();
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 5u);
  }
}

INSTANTIATE_TEST_SUITE_P(With, LoggingTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing

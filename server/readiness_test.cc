// SPDX-License-Identifier: Apache-2.0

#include "brood/server/readiness.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

const net::Endpoint kEndpoints[] = {
    *net::Endpoint::Parse("127.0.0.1:7001"),
    *net::Endpoint::Parse("[::1]:7000"),
    *net::Endpoint::Parse(":65535"),
};

class ReadinessTest : public ::brood::testing::LeakCheck {
 protected:
  ReadinessTest() { EXPECT_EQ(pipe2(fds_, O_CLOEXEC | O_NONBLOCK), 0); }
  ~ReadinessTest() override {
    if (fds_[0] >= 0) close(fds_[0]);
    close(fds_[1]);
  }

  std::string Read() {
    char text[4096];
    const ssize_t got = read(fds_[0], text, sizeof(text));
    return std::string(text, got > 0 ? static_cast<size_t>(got) : 0);
  }

  int fds_[2];
};

TEST_F(ReadinessTest, NamesEachEndpointInALineInTheirOrder) {
  AnnounceReadiness({std::begin(kEndpoints), std::end(kEndpoints)}, fds_[1]);
  EXPECT_EQ(Read(),
            "listening 127.0.0.1:7001\n"
            "listening [::1]:7000\n"
            "listening :65535\n");
}

TEST_F(ReadinessTest, IsNothingWithoutAnEndpoint) {
  AnnounceReadiness({}, fds_[1]);
  EXPECT_EQ(Read(), "");
}

// The pipe blocks, like that of a script; a write that waits would not end.
TEST_F(ReadinessTest, DoesNotWaitForAReaderThatIsAsleep) {
  const std::string fill(4096, 'x');
  while (write(fds_[1], fill.data(), fill.size()) > 0) {
  }
  ASSERT_EQ(fcntl(fds_[1], F_SETFL, 0), 0);
  EXPECT_EQ(AnnounceReadiness({std::begin(kEndpoints), std::end(kEndpoints)},
                              fds_[1]),
            3u);
}

// F27a. Only 157 of the 300 lines fit into a pipe of one page.
TEST_F(ReadinessTest, WritesEachLineToAReaderThatIsSlow) {
  ASSERT_GE(fcntl(fds_[1], F_SETPIPE_SZ, 4096), 4096);
  ASSERT_EQ(fcntl(fds_[0], F_SETFL, 0), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(fds_[0]);
    const std::vector<net::Endpoint> many(300, kEndpoints[0]);
    _exit(static_cast<int>(AnnounceReadiness(many, fds_[1])));
  }
  const std::string line = "listening 127.0.0.1:7001\n";
  // Nothing is read before the pipe has no room for another line.
  for (int size = 0; static_cast<size_t>(size) + line.size() <= 4096;) {
    ASSERT_EQ(ioctl(fds_[0], FIONREAD, &size), 0);
    sched_yield();
  }
  for (size_t left = 300 * line.size(); left > 0;) {
    pollfd readable = {fds_[0], POLLIN, 0};
    ASSERT_EQ(poll(&readable, 1, 10000), 1) << left << " bytes did not come";
    left -= Read().size();
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(ReadinessTest, CountsLinesThatADeviceRefuses) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  EXPECT_EQ(
      AnnounceReadiness({std::begin(kEndpoints), std::end(kEndpoints)}, full),
      3u);
  close(full);
}

// SIGPIPE would end this process.
TEST_F(ReadinessTest, SurvivesAReaderThatHasGone) {
  close(fds_[0]);
  fds_[0] = -1;
  EXPECT_EQ(AnnounceReadiness({std::begin(kEndpoints), std::end(kEndpoints)},
                              fds_[1]),
            3u);
}

}  // namespace
}  // namespace brood::server

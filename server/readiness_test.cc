#include "brood/server/readiness.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

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

// With a pipe that blocks, as a script's does; a write that waits would not
// end.
TEST_F(ReadinessTest, DoesNotWaitForAReaderThatIsAsleep) {
  const std::string fill(4096, 'x');
  while (write(fds_[1], fill.data(), fill.size()) > 0) {
  }
  ASSERT_EQ(fcntl(fds_[1], F_SETFL, 0), 0);
  AnnounceReadiness({std::begin(kEndpoints), std::end(kEndpoints)}, fds_[1]);
}

// SIGPIPE would end this process.
TEST_F(ReadinessTest, SurvivesAReaderThatHasGone) {
  close(fds_[0]);
  fds_[0] = -1;
  AnnounceReadiness({std::begin(kEndpoints), std::end(kEndpoints)}, fds_[1]);
}

}  // namespace
}  // namespace brood::server

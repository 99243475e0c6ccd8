// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/string_view.h"
#include "brood/net/handoff_queue.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;

using SeqpacketPairTest = ::brood::testing::LeakCheck;

std::string Receive(const Socket& socket) {
  char bytes[16];
  const ssize_t size = recv(socket.fd(), bytes, sizeof(bytes), MSG_DONTWAIT);
  return size < 0 ? "nothing" : std::string(bytes, static_cast<size_t>(size));
}

TEST_F(SeqpacketPairTest, KeepsMessagesApartInBothDirections) {
  const absl::StatusOr<SeqpacketPair> pair = SeqpacketPair::Create();
  ASSERT_THAT(pair, IsOk());
  ASSERT_EQ(send(pair->first.fd(), "ping", 4, 0), 4);
  ASSERT_EQ(send(pair->first.fd(), "pang", 4, 0), 4);
  ASSERT_EQ(send(pair->second.fd(), "pong", 4, 0), 4);
  EXPECT_EQ(Receive(pair->second), "ping");
  EXPECT_EQ(Receive(pair->second), "pang");
  EXPECT_EQ(Receive(pair->second), "nothing");
  EXPECT_EQ(Receive(pair->first), "pong");
}

TEST_F(SeqpacketPairTest, ClosesOnExec) {
  const absl::StatusOr<SeqpacketPair> pair = SeqpacketPair::Create();
  ASSERT_THAT(pair, IsOk());
  EXPECT_EQ(fcntl(pair->first.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(pair->second.fd(), F_GETFD), FD_CLOEXEC);
}

TEST_F(SeqpacketPairTest, LiesAboveTheStandardDescriptors) {
  const int kept = dup(STDIN_FILENO);
  close(STDIN_FILENO);
  const absl::StatusOr<SeqpacketPair> pair = SeqpacketPair::Create();
  dup2(kept, STDIN_FILENO);
  close(kept);
  ASSERT_THAT(pair, IsOk());
  EXPECT_GT(pair->first.fd(), STDERR_FILENO);
  EXPECT_GT(pair->second.fd(), STDERR_FILENO);
}

TEST_F(SeqpacketPairTest, NamesTheCallThatFailed) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none_free = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_free), 0);
  const absl::Status status = SeqpacketPair::Create().status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               HasSubstr("socketpair")));
}

}  // namespace
}  // namespace brood::net

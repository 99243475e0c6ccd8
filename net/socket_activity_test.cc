#include "brood/net/socket_activity.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/io.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/observe.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::Await;
using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;

class SocketActivityTest : public ::brood::testing::LeakCheck {
 protected:
  SocketActivityTest()
      : activity_(*SocketActivity::Create()),
        pair_(*ConnectionPair::Create()) {}

  absl::StatusOr<SocketActivity::Answer> Ask() {
    return activity_.Ask(pair_.connection.local(), pair_.connection.peer());
  }

  SocketActivity activity_;
  ConnectionPair pair_;
};

TEST_F(SocketActivityTest, CountsWhatTheClientSentThoughNobodyReadIt) {
  ASSERT_THAT(Ask(), IsOk());
  EXPECT_EQ(Ask()->bytes_received, 0u);
  ASSERT_THAT(WriteFull(pair_.client, "hello"), IsOk());
  EXPECT_EQ(Ask()->bytes_received, 5u);
}

TEST_F(SocketActivityTest, IsIdleSinceTheLastByteInEitherDirection) {
  constexpr absl::Duration kPause = absl::Milliseconds(60);
  const Socket* const ends[] = {&pair_.client, &pair_.connection.socket()};
  for (const Socket* from : ends) {
    absl::SleepFor(kPause);  // the length is the claim
    EXPECT_GE(Ask()->idle, kPause / 2);
    ASSERT_THAT(WriteFull(*from, "x"), IsOk());
    EXPECT_LT(Ask()->idle, kPause);
  }
}

TEST_F(SocketActivityTest, TellsWhatWaitsForTheClientToTakeIt) {
  const auto before = Ask();
  ASSERT_THAT(before, IsOk());
  EXPECT_FALSE(before->more_waits);
  // More than both ends can keep.
  const std::string bytes(1 << 20, 'x');
  const auto send_some = [&] {
    return send(pair_.connection.fd(), bytes.data(), bytes.size(),
                MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  ssize_t sent = 0;
  for (ssize_t size; (size = send_some()) > 0;) sent += size;
  const auto full = Ask();
  ASSERT_THAT(full, IsOk());
  EXPECT_TRUE(full->more_waits);

  std::string taken(static_cast<size_t>(sent), '\0');
  ASSERT_THAT(ReadFull(pair_.client, absl::MakeSpan(taken)), IsOk());
  const auto all_there = [&] { return !Ask()->more_waits; };
  EXPECT_TRUE(Await(all_there));
  EXPECT_EQ(Ask()->bytes_acknowledged - before->bytes_acknowledged,
            static_cast<uint64_t>(sent));
}

TEST_F(SocketActivityTest, FindsNoConnectionThatHasEnded) {
  pair_.client.Close();
  pair_.connection = Connection(Socket(), pair_.connection.peer(),
                                pair_.connection.local(), Instant());
  EXPECT_THAT(Ask(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(SocketActivityTest, AnswersForAConnectionThatAnotherProcessHolds) {
  ASSERT_THAT(WriteFull(pair_.client, "hello"), IsOk());
  const Endpoint peer = pair_.connection.peer();
  const Endpoint local = pair_.connection.local();
  int held[2];
  ASSERT_EQ(pipe(held), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(held[1]);
    char byte;
    _exit(static_cast<int>(read(held[0], &byte, 1)));
  }
  pair_.connection = Connection(Socket(), peer, local, Instant());
  EXPECT_THAT(activity_.Ask(local, peer), IsOk());
  close(held[0]);
  close(held[1]);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

}  // namespace
}  // namespace brood::net

#include "brood/net/tcp_activity.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/endpoint.h"
#include "brood/net/io.h"
#include "brood/net/listener.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/test_client.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::Await;
using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;

class TcpActivityTest : public ::brood::testing::LeakCheck {
 protected:
  TcpActivityTest()
      : activity_(*TcpActivity::Create()), pair_(*ConnectionPair::Create()) {}

  absl::StatusOr<TcpActivity::Answer> Ask() {
    return activity_.Ask(pair_.connection.local_address(),
                         pair_.connection.peer());
  }

  TcpActivity activity_;
  ConnectionPair pair_;
};

TEST_F(TcpActivityTest, CountsWhatTheClientSentThoughNobodyReadIt) {
  ASSERT_THAT(Ask(), IsOk());
  EXPECT_EQ(Ask()->bytes_received, 0u);
  ASSERT_THAT(WriteFull(pair_.client, "hello"), IsOk());
  EXPECT_EQ(Ask()->bytes_received, 5u);
}

// A client of a listener on every address may come by IPv4 to an IPv6 socket.
TEST_F(TcpActivityTest, KnowsConnectionsOfEveryFamily) {
  const struct {
    const char *listens, *host;
  } kFamilies[] = {{"[::1]:0", "[::1]"}, {":0", "[::1]"}, {":0", "127.0.0.1"}};
  for (const auto& family : kFamilies) {
    absl::StatusOr<Listener> listener =
        Listener::Listen(*Endpoint::Parse(family.listens), /*backlog=*/1);
    if (!listener.ok()) GTEST_SKIP() << "this machine has no IPv6";
    TestClient client = *TestClient::Connect(*Endpoint::Parse(
        absl::StrCat(family.host, ":", listener->endpoint().port())));
    pollfd queue = {listener->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&queue, 1, 10000), 1);
    const Accepted accepted = listener->Accept();
    ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    ASSERT_THAT(client.Send("hello"), IsOk());
    const auto answer = activity_.Ask(accepted.connection->local_address(),
                                      accepted.connection->peer());
    ASSERT_THAT(answer, IsOk()) << client.endpoint().ToString();
    EXPECT_EQ(answer->bytes_received, 5u);
  }
}

TEST_F(TcpActivityTest, IsIdleSinceTheLastByteInEitherDirection) {
  constexpr absl::Duration kPause = absl::Milliseconds(60);
  const Socket* const ends[] = {&pair_.client, &pair_.connection.socket()};
  for (const Socket* from : ends) {
    absl::SleepFor(kPause);  // the length is the claim
    EXPECT_GE(Ask()->idle, kPause / 2);
    ASSERT_THAT(WriteFull(*from, "x"), IsOk());
    EXPECT_LT(Ask()->idle, kPause);
  }
}

TEST_F(TcpActivityTest, TellsWhatWaitsForTheClientToTakeIt) {
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
  // Until nothing is on its way, for there is no room where it would go.
  const auto none_on_its_way = [&] {
    tcp_info info = {};
    socklen_t length = sizeof(info);
    return getsockopt(pair_.connection.fd(), IPPROTO_TCP, TCP_INFO, &info,
                      &length) == 0 &&
           info.tcpi_unacked == 0;
  };
  ASSERT_TRUE(Await(none_on_its_way));
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

TEST_F(TcpActivityTest, FindsNoConnectionThatHasEnded) {
  pair_.client.Close();
  pair_.connection = Connection(Socket(), pair_.connection.peer(),
                                pair_.connection.local_address(), Instant());
  EXPECT_THAT(Ask(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(TcpActivityTest, AnswersForAConnectionThatAnotherProcessHolds) {
  ASSERT_THAT(WriteFull(pair_.client, "hello"), IsOk());
  const PeerAddress peer = pair_.connection.peer();
  const PeerAddress local = pair_.connection.local_address();
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

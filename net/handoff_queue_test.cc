// SPDX-License-Identifier: Apache-2.0

#include "brood/net/handoff_queue.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "brood/net/io.h"
#include "brood/net/listener.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/ancillary_message.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::AncillaryMessage;
using ::brood::testing::ConnectionPair;
using ::brood::testing::DescriptorsOf;
using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::HasSubstr;

constexpr HandoffQueue::Ticket kTicket = {7, 42};
// Offsets in a message, in bytes.
constexpr size_t kMagicAt = 0, kConnectionsAt = 4, kPeerAt = 24, kLocalAt = 52;

// Receives the bytes of the first message in the queue.
std::string ReadRaw(const HandoffQueue& queue) {
  char bytes[4096];
  const ssize_t size =
      recv(queue.fd_to_await(), bytes, sizeof(bytes), MSG_DONTWAIT);
  EXPECT_GE(size, 0);
  return std::string(bytes, static_cast<size_t>(size));
}

// Sends a message that Offer() never sends.
void SendRaw(const HandoffQueue& queue, absl::string_view bytes,
             const std::vector<int>& fds, bool with_credentials = false) {
  AncillaryMessage message{bytes, fds};
  if (with_credentials) message.sender = {getpid(), getuid(), getgid()};
  ASSERT_EQ(Send(message, queue.fd_to_offer()),
            static_cast<ssize_t>(bytes.size()));
}

bool HasEnded(const Socket& client) {
  char byte;
  return recv(client.fd(), &byte, 1, MSG_DONTWAIT) == 0;
}

PeerAddress LinkLocal(uint16_t port, uint32_t scope) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_scope_id = scope;
  EXPECT_EQ(inet_pton(AF_INET6, "fe80::1", &address.sin6_addr), 1);
  sockaddr_storage storage = {};
  std::memcpy(&storage, &address, sizeof(address));
  return PeerAddress::FromSockaddr(storage);
}

class HandoffQueueTest : public ::brood::testing::LeakCheck {
 protected:
  HandoffQueueTest()
      : queue_(*HandoffQueue::Create()), pair_(*ConnectionPair::Create()) {}

  void OfferIt() {
    ASSERT_THAT(queue_.Offer(kTicket, pair_.connection), IsOk());
  }
  // The bytes of a message about the connection, as Offer() makes it.
  std::string WholeMessage() {
    OfferIt();
    return ReadRaw(queue_);
  }
  // Expects that `message` is that of OfferIt() and its connection works.
  void ExpectIsIt(HandoffQueue::Message message) {
    EXPECT_EQ(message.ticket.slot, kTicket.slot);
    EXPECT_EQ(message.ticket.serial, kTicket.serial);
    ASSERT_TRUE(message.connection);
    EXPECT_EQ(message.connection->peer(), pair_.connection.peer());
    EXPECT_EQ(message.connection->local_address(),
              pair_.connection.local_address());
    EXPECT_EQ(message.connection->accepted_at(),
              pair_.connection.accepted_at());
    ASSERT_THAT(WriteFull(message.connection->socket(), "ping"), IsOk());
    char reply[4];
    ASSERT_EQ(recv(pair_.client.fd(), reply, sizeof(reply), MSG_WAITALL), 4);
    EXPECT_EQ(absl::string_view(reply, 4), "ping");
  }

  HandoffQueue queue_;
  ConnectionPair pair_;
};

TEST_F(HandoffQueueTest, ReturnsWhatWasOffered) {
  OfferIt();
  absl::StatusOr<HandoffQueue::Message> message = queue_.Await();
  ASSERT_THAT(message, IsOk());
  ExpectIsIt(*std::move(message));
}

TEST_F(HandoffQueueTest, ReturnsCommandWithoutConnection) {
  ASSERT_THAT(queue_.Order(kTicket), IsOk());
  const absl::StatusOr<HandoffQueue::Message> order = queue_.Await();
  ASSERT_THAT(order, IsOk());
  EXPECT_EQ(order->ticket.slot, kTicket.slot);
  EXPECT_EQ(order->ticket.serial, kTicket.serial);
  EXPECT_FALSE(order->connection);
}

TEST_F(HandoffQueueTest, ReturnsMessagesInOrderOfOffer) {
  for (uint32_t n = 0; n < 5; ++n) {
    ASSERT_THAT(queue_.Order({n, 0}), IsOk());
  }
  for (uint32_t n = 0; n < 5; ++n) {
    const absl::StatusOr<HandoffQueue::Message> first = queue_.Await();
    ASSERT_THAT(first, IsOk());
    EXPECT_EQ(first->ticket.slot, n);
    queue_.Acknowledge();
  }
  EXPECT_TRUE(queue_.Empty());
}

TEST_F(HandoffQueueTest, KeepsAMessageUntilItIsAcknowledged) {
  EXPECT_TRUE(queue_.Empty());
  OfferIt();
  for (int n = 0; n < 3; ++n) {
    EXPECT_FALSE(queue_.Empty());
    absl::StatusOr<HandoffQueue::Message> message = queue_.Await();
    ASSERT_THAT(message, IsOk());
    ExpectIsIt(*std::move(message));
  }
  queue_.Acknowledge();
  EXPECT_TRUE(queue_.Empty());
  EXPECT_FALSE(queue_.TryAwait()->has_value());
}

TEST_F(HandoffQueueTest, ReturnsNothingFromEmptyQueueWithoutWaiting) {
  const auto awaited = queue_.TryAwait();
  ASSERT_THAT(awaited, IsOk());
  EXPECT_FALSE(awaited->has_value());
  const auto taken = queue_.TakeBack();
  ASSERT_THAT(taken, IsOk());
  EXPECT_FALSE(taken->has_value());
  queue_.Acknowledge();  // has no effect
  EXPECT_TRUE(queue_.Empty());
}

TEST_F(HandoffQueueTest, TakesEachMessageBackOnce) {
  OfferIt();
  auto taken = queue_.TakeBack();
  ASSERT_THAT(taken, IsOk());
  ASSERT_TRUE(*taken);
  ExpectIsIt(**std::move(taken));
  EXPECT_TRUE(queue_.Empty());
  EXPECT_FALSE(queue_.TakeBack()->has_value());
}

TEST_F(HandoffQueueTest, KeepsMessageOfChildThatDiesBeforeAcknowledging) {
  OfferIt();
  const pid_t child = fork();
  if (child == 0) _exit(queue_.Await().ok() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  auto taken = queue_.TakeBack();
  ASSERT_THAT(taken, IsOk());
  ASSERT_TRUE(*taken);
  ExpectIsIt(**std::move(taken));
}

TEST_F(HandoffQueueTest, NoticesAcknowledgementOfAnotherProcess) {
  OfferIt();
  const pid_t child = fork();
  if (child == 0) {
    const bool got_it = queue_.Await().ok();
    queue_.Acknowledge();
    _exit(got_it ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(queue_.Empty());
}

// The copy in the queue is the last one.
TEST_F(HandoffQueueTest, HoldsTheConnectionForAsLongAsTheMessageWaits) {
  OfferIt();
  { const Connection closed = std::move(pair_.connection); }
  EXPECT_FALSE(HasEnded(pair_.client));
  queue_.Acknowledge();
  pollfd end = {pair_.client.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&end, 1, 10000), 1);
  EXPECT_TRUE(HasEnded(pair_.client));
}

TEST_F(HandoffQueueTest, KeepsAnIpv6ScopeAndTheTimeToTheNanosecond) {
  const Instant accepted_at(std::chrono::nanoseconds(1234567890123456789));
  const Connection connection(std::move(pair_.client), LinkLocal(4711, 3),
                              LinkLocal(80, 2), accepted_at);
  ASSERT_THAT(queue_.Offer(kTicket, connection), IsOk());
  const auto taken = queue_.TakeBack();
  ASSERT_THAT(taken, IsOk());
  ASSERT_TRUE(*taken && (*taken)->connection);
  const Connection& back = *(*taken)->connection;
  EXPECT_EQ(back.peer(), LinkLocal(4711, 3));
  EXPECT_NE(back.peer(), LinkLocal(4711, 2));
  EXPECT_EQ(back.local_address(), LinkLocal(80, 2));
  EXPECT_EQ(back.accepted_at(), accepted_at);
}

TEST_F(HandoffQueueTest, EndsWhenNoProcessCanOffer) {
  OfferIt();
  const pid_t child = fork();
  if (child == 0) {
    close(queue_.fd_to_offer());
    if (!queue_.Await().ok()) _exit(1);  // the offered connection comes first
    queue_.Acknowledge();
    _exit(absl::IsOutOfRange(queue_.Await().status()) ? 0 : 2);
  }
  { const HandoffQueue gone = std::move(queue_); }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(HandoffQueueTest, ReturnsUnavailableInsteadOfBlocking) {
  int offered = 0;
  absl::Status status;
  while ((status = queue_.Offer(kTicket, pair_.connection)).ok()) {
    ASSERT_LT(++offered, 100000);
  }
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable,
                               HasSubstr("the queue is full")));
  EXPECT_GT(offered, 16);
  while (!queue_.Empty()) queue_.Acknowledge();
  OfferIt();
  ExpectIsIt(*queue_.Await());
}

TEST_F(HandoffQueueTest, KeepsConnectionInQueueIfNoDescriptorIsFree) {
  OfferIt();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none_free = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none_free), 0);
  const absl::Status awaited = queue_.Await().status();
  const absl::Status tried = queue_.TryAwait().status();
  const absl::Status taken = queue_.TakeBack().status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  for (const absl::Status& status : {awaited, tried, taken}) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                                 HasSubstr("no descriptor is free")));
  }
  auto relieved = queue_.TakeBack();
  ASSERT_THAT(relieved, IsOk());
  ASSERT_TRUE(*relieved) << "the connection is lost";
  ExpectIsIt(**std::move(relieved));
}

// A message that a sender other than Offer() might send.
struct Forgery {
  const char* name;
  void (*edit)(std::string& bytes);
  int descriptors;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  bool credentials = false;
};

void LeaveIt(std::string& /*bytes*/) {}

class ForgedMessageTest : public HandoffQueueTest,
                          public ::testing::WithParamInterface<Forgery> {};

TEST_P(ForgedMessageTest, IsAnErrorAndLeaksNoDescriptor) {
  const Forgery& forgery = GetParam();
  std::string bytes = WholeMessage();
  forgery.edit(bytes);
  const std::vector<int> fds(static_cast<size_t>(forgery.descriptors),
                             pair_.connection.fd());
  if (forgery.credentials) {
    const int on = 1;
    ASSERT_EQ(setsockopt(queue_.fd_to_await(), SOL_SOCKET, SO_PASSCRED, &on,
                         sizeof(on)),
              0);
  }
  SendRaw(queue_, bytes, fds, forgery.credentials);
  OfferIt();
  const std::vector<int> before = DescriptorsOf("self");
  EXPECT_THAT(queue_.Await(), StatusIs(forgery.code));
  EXPECT_EQ(DescriptorsOf("self"), before);
  EXPECT_THAT(queue_.TryAwait(), StatusIs(forgery.code));
  EXPECT_EQ(DescriptorsOf("self"), before);
  EXPECT_THAT(queue_.TakeBack(), StatusIs(forgery.code));
  EXPECT_EQ(DescriptorsOf("self"), before);
  // The next message is not affected.
  queue_.Acknowledge();
  const int off = 0;
  setsockopt(queue_.fd_to_await(), SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
  auto next = queue_.TakeBack();
  ASSERT_THAT(next, IsOk());
  ASSERT_TRUE(*next);
  ExpectIsIt(**std::move(next));
}

template <size_t kAt>
void OfUnixFamily(std::string& bytes) {
  const sa_family_t family = AF_UNIX;
  std::memcpy(&bytes[kAt], &family, sizeof(family));
}

INSTANTIATE_TEST_SUITE_P(
    That, ForgedMessageTest,
    ::testing::Values(
        Forgery{"IsOneByteShort", [](std::string& b) { b.pop_back(); }, 1},
        Forgery{"IsCutInTheMiddle", [](std::string& b) { b.resize(40); }, 1},
        Forgery{"IsOneByteInAll", [](std::string& b) { b.resize(1); }, 1},
        Forgery{"IsOneByteTooLong", [](std::string& b) { b += '\0'; }, 1},
        Forgery{"IsTwoInOne", [](std::string& b) { b += b; }, 1},
        Forgery{"IsHuge", [](std::string& b) { b.resize(60000); }, 1},
        Forgery{"IsEmptyButForADescriptor", [](std::string& b) { b.clear(); },
                1},
        // The kernel reports it in the same way as the end of the queue.
        Forgery{"IsEmpty", [](std::string& b) { b.clear(); }, 0,
                absl::StatusCode::kOutOfRange},
        Forgery{"IsNotMarked", [](std::string& b) { b[kMagicAt] ^= 1; }, 1},
        Forgery{"IsNoise", [](std::string& b) { b.assign(b.size(), '\xa5'); },
                1},
        Forgery{"LacksItsDescriptor", LeaveIt, 0},
        Forgery{"HasADescriptorThatItDoesNotPromise",
                [](std::string& b) { b[kConnectionsAt] = 0; }, 1},
        Forgery{"HasAPeerOfAnotherFamily", OfUnixFamily<kPeerAt>, 1},
        Forgery{"HasALocalEndOfAnotherFamily", OfUnixFamily<kLocalAt>, 1},
        Forgery{"HasTwoDescriptors", LeaveIt, 2},
        Forgery{"HasThreeDescriptors", LeaveIt, 3},
        Forgery{"HasAsManyDescriptorsAsThereMayBe", LeaveIt, 253},
        Forgery{"IsShortAndHasManyDescriptors",
                [](std::string& b) { b.resize(8); }, 100},
        // The control buffer has no room for both; the error is that for no
        // free descriptor.
        Forgery{"HasCredentials", LeaveIt, 1,
                absl::StatusCode::kResourceExhausted, true}),
    [](const auto& info) { return info.param.name; });

TEST_F(HandoffQueueTest, DropsUnrequestedCredentials) {
  SendRaw(queue_, WholeMessage(), {pair_.connection.fd()},
          /*with_credentials=*/true);
  ExpectIsIt(*queue_.Await());
}

TEST_F(HandoffQueueTest, KeepsTheEndsOfAUnixConnection) {
  const ShortDir dir;
  const Endpoint endpoint = dir.Socket("handoff");
  absl::StatusOr<Listener> listener = Listener::Listen(endpoint, 1);
  ASSERT_THAT(listener, IsOk());
  const absl::StatusOr<TestClient> client = TestClient::Connect(endpoint);
  ASSERT_THAT(client, IsOk());
  const Accepted accepted = listener->Accept();
  ASSERT_TRUE(accepted.connection);
  ASSERT_THAT(queue_.Offer({1, 2}, *accepted.connection), IsOk());
  const auto message = queue_.Await();
  ASSERT_THAT(message, IsOk());
  EXPECT_EQ(message->connection->peer().ToString(), "unix:");
  EXPECT_EQ(message->connection->local(), endpoint);
  EXPECT_EQ(message->connection->accepted_at(),
            accepted.connection->accepted_at());
  queue_.Acknowledge();
}

// Another process may have changed the open file, which the parent shares.
TEST_F(HandoffQueueTest, AwaitFailsOnNonBlockingQueue) {
  const int on = 1;
  ASSERT_EQ(ioctl(queue_.fd_to_await(), FIONBIO, &on), 0);
  EXPECT_FALSE(queue_.Await().ok());
}

}  // namespace
}  // namespace brood::net

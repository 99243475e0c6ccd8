// SPDX-License-Identifier: Apache-2.0
//
// O24. With default options the kernel notices that a client has lost its
// power: keepalive is on for each accepted TCP connection.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"
#include "brood/server/handler.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

class KeepaliveTest : public StrategyTest {
 protected:
  // Returns a setup whose handler fails unless keepalive is on for its
  // connection, if it is TCP, with the first probe after `silence` seconds, if
  // that is not 0.
  static TestServer::Setup SetupWith(int silence) {
    TestServer::Setup setup;
    setup.handler = [silence](net::Connection& connection) {
      int on = 0, idle = 0;
      socklen_t length = sizeof(on);
      getsockopt(connection.fd(), SOL_SOCKET, SO_KEEPALIVE, &on, &length);
      getsockopt(connection.fd(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, &length);
      const bool is_right = on == (connection.peer().is_unix() ? 0 : 1) &&
                            (silence == 0 || idle == silence);
      return is_right ? ExitCode::kServed : ExitCode::kBug;
    };
    return setup;
  }

  // Expects that the handler succeeds for a client of each listener.
  void ExpectRight(TestServer::Setup setup) {
    const size_t listeners = setup.options.listen.size();
    const auto server = StartServer(std::move(setup));
    for (size_t i = 0; i < listeners; ++i) {
      auto client = TestClient::Connect(server->endpoint(i));
      ASSERT_THAT(client, IsOk());
      EXPECT_THAT(client->ExpectEof(), IsOk());
    }
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, listeners);
  }

  const ShortDir dir_;
};

INSTANTIATE_TEST_SUITE_P(With, KeepaliveTest, EachStrategy(), StrategyName());

// On each kind of listener that the server opens itself.
TEST_P(KeepaliveTest, IsOnWithDefaultOptions) {
  TestServer::Setup setup = SetupWith(/*silence=*/0);
  setup.options.listen = {"127.0.0.1:0", "[::1]:0", ":0",
                          dir_.Socket("s").ToString()};
  ExpectRight(std::move(setup));
}

// The program that opened the listener may have turned keepalive off.
TEST_P(KeepaliveTest, IsOnForAnInheritedListener) {
  const net::Socket listener =
      net::Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int off = 0;
  setsockopt(listener.fd(), SOL_SOCKET, SO_KEEPALIVE, &off, sizeof(off));
  const net::Endpoint any = *net::Endpoint::Parse("127.0.0.1:0");
  ASSERT_EQ(bind(listener.fd(), any.address(), any.address_length()), 0);
  ASSERT_EQ(listen(listener.fd(), 8), 0);
  TestServer::Setup setup = SetupWith(/*silence=*/0);
  setup.inherited = {listener.fd()};
  setup.options.listen = {"inherited"};
  ExpectRight(std::move(setup));
}

TEST_P(KeepaliveTest, HasTheTimesOfThePeerTimeout) {
  TestServer::Setup setup = SetupWith(/*silence=*/10);
  setup.options.deadlines.peer = absl::Seconds(30);
  ExpectRight(std::move(setup));
}

}  // namespace
}  // namespace brood::testing

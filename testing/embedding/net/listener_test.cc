// SPDX-License-Identifier: Apache-2.0

#include "net/listener.h"

#include <sstream>

#include "brood/net/endpoint.h"
#include "brood/server/totals.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

TEST(PrintingListener, HasALineForEachEndpoint) {
  std::ostringstream out;
  PrintingListener(out).Serving({*brood::net::Endpoint::Parse("127.0.0.1:7000"),
                                 *brood::net::Endpoint::Parse("[::1]:7001")});
  EXPECT_EQ(out.str(), "listening 127.0.0.1:7000\nlistening [::1]:7001\n");
}

TEST(PrintingListener, PrintsHowManyClientsWereServed) {
  std::ostringstream out;
  brood::server::Totals totals;
  totals.accepted = 3;
  totals.ended_ok = 2;
  totals.crashed = 1;
  PrintingListener(out).Stopped(totals);
  EXPECT_EQ(out.str(), "served 2 of 3\n");
}

}  // namespace
}  // namespace embedder

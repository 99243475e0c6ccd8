// SPDX-License-Identifier: Apache-2.0

// The example in the header of SyscallTable, word for word. In a file of its
// own, because it changes how a test is linked.

#include <cerrno>
#include <utility>

#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/syscalls/syscall_table.h"
#include "brood/testing/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// Example of testing/syscalls/syscall_table.h.
TEST_F(ServerTest, ServesEachClientWithoutFreeDescriptors) {
  SyscallTable calls({"brood::net"});
  calls.Fail("Listener::Accept accept4", EMFILE, /*first=*/2, /*count=*/3);
  TestServer::Setup setup;
  setup.before = [&] { calls.Arm(); };
  auto server = StartServer(std::move(setup));
  for (int client = 1; client <= 5; ++client) {
    EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 5u);
  EXPECT_EQ(calls.failed("Listener::Accept accept4"), 3);
}
// End of the example.

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0
//
// A server whose connections clients on other machines can keep without a limit
// logs that when it starts.

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "brood/server/options.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class NoDeadlineTest : public ServerTest {
 protected:
  // Returns the listeners that a server with `options` warns about.
  std::vector<std::string> Warnings(server::Options options) {
    TestServer::Setup setup;
    options.log = setup.options.log;
    setup.options = std::move(options);
    const auto server = StartServer(std::move(setup));
    std::vector<std::string> listeners;
    for (const LoggedEvent& event :
         EventsOf(StopAndExpectClean(*server).log, "no-deadline")) {
      std::string listener(event.Text("brood.listener"));
      listeners.push_back(listener.substr(0, listener.rfind(':')));
    }
    return listeners;
  }

  const ShortDir dir_;
};

TEST_F(NoDeadlineTest, IsAWarningForEachListenerThatIsOpenToOtherMachines) {
  server::Options options;
  options.listen = {"0.0.0.0:0",
                    "127.0.0.1:0",
                    "127.1.2.3:0",
                    "[::1]:0",
                    "[::]:0",
                    ":0",
                    dir_.Socket("s").ToString()};
  EXPECT_EQ(Warnings(options),
            (std::vector<std::string>{"0.0.0.0", "[::]", ""}));
}

// The peer deadline does not end a client that is reachable and silent.
TEST_F(NoDeadlineTest, IsNoneIfADeadlineEndsASilentClient) {
  server::Options options;
  options.listen = {"0.0.0.0:0"};
  options.deadlines.peer = absl::Seconds(9);
  EXPECT_EQ(Warnings(options).size(), 1u);
  for (absl::Duration server::Options::Deadlines::*deadline :
       {&server::Options::Deadlines::first_byte,
        &server::Options::Deadlines::idle,
        &server::Options::Deadlines::connection}) {
    server::Options bounded = options;
    bounded.deadlines.*deadline = absl::Seconds(9);
    EXPECT_EQ(Warnings(bounded).size(), 0u);
  }
}

}  // namespace
}  // namespace brood::testing

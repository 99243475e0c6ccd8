// SPDX-License-Identifier: Apache-2.0

// O19: the program warns at its start if the variables of a service manager
// have no listener for it, with the reason. net/listen_fds_test.cc has more
// variants; malformed variables end the program (testing/program).

#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ListenFdsTest : public LeakCheck {
 protected:
  // Starts the program below a shell that has run `assignments`.
  absl::StatusOr<std::unique_ptr<ServerProgram>> StartBelow(
      const std::string& assignments) {
    const std::string path = dir_.File("manager");
    std::ofstream(path) << "#!/bin/bash\n" << assignments << " exec \"$@\"\n";
    chmod(path.c_str(), 0700);
    setenv("SERVER_UNDER", path.c_str(), 1);
    const absl::Cleanup reset = [] { unsetenv("SERVER_UNDER"); };
    return ServerProgram::Start({ServerProgram::Path()});
  }

  const ShortDir dir_;
};

TEST_F(ListenFdsTest, WarnsThatNoListenerIsForThisProcess) {
  const std::pair<std::string, std::string> kIgnored[] = {
      {"LISTEN_PID=1 LISTEN_FDS=1", "LISTEN_PID=1 is not this process"},
      {"LISTEN_PID=$PPID LISTEN_FDS=2 LISTEN_FDNAMES=a:b",
       "is not this process"},
      {"LISTEN_FDS=1", "LISTEN_PID is not"},
      {"LISTEN_FDNAMES=http", "LISTEN_PID is not"},
      {"LISTEN_PID=$$", "LISTEN_FDS is not"},
      {"LISTEN_PID=$$ LISTEN_FDS=0", "LISTEN_FDS=0"},
  };
  for (const auto& [assignments, why] : kIgnored) {
    auto server = StartBelow(assignments);
    ASSERT_THAT(server, IsOk()) << assignments;
    const auto events = EventsOf((*server)->log().All(), "listen-fds-ignored");
    ASSERT_EQ(events.size(), 1u) << assignments;
    EXPECT_EQ(events[0].Text("log.level"), "warning");
    EXPECT_THAT(events[0].Text("error.message"), HasSubstr(why));
    EXPECT_THAT((*server)->Stop(), IsOk());
  }
}

TEST_F(ListenFdsTest, WarnsOnceAndNotOfANormalStart) {
  auto server = StartBelow("LISTEN_PID=1 LISTEN_FDS=1");
  ASSERT_THAT(server, IsOk());
  (*server)->Signal(SIGUSR2);
  ASSERT_THAT((*server)->AwaitSuccessor(), IsOk());
  EXPECT_EQ(EventsOf((*server)->log().All(), "listen-fds-ignored").size(), 1u)
      << "a new program finds no such variables";
  EXPECT_THAT((*server)->Stop(), IsOk());
  auto plain = StartBelow("");
  ASSERT_THAT(plain, IsOk());
  EXPECT_THAT(EventsOf((*plain)->log().All(), "listen-fds-ignored"), IsEmpty());
  EXPECT_THAT((*plain)->Stop(), IsOk());
}

}  // namespace
}  // namespace brood::testing

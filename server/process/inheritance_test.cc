// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/inheritance.h"

#include <csignal>
#include <string>
#include <vector>

#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// prepare_process_test tests what is found in processes with unusual state.
class InheritanceTest : public ::brood::testing::LeakCheck {};

TEST_F(InheritanceTest, NamesSignals) {
  EXPECT_EQ(NamesOf({}), "");
  EXPECT_EQ(NamesOf({SIGTERM}), "SIGTERM");
  EXPECT_EQ(NamesOf({SIGHUP, SIGRTMIN, SIGRTMAX}),
            "SIGHUP, SIGRTMIN, SIGRTMIN+30");
}

TEST_F(InheritanceTest, ShortensMoreThanEightNames) {
  std::vector<int> signals = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(NamesOf(signals),
            "SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, "
            "SIGFPE");
  signals.push_back(10);
  EXPECT_EQ(NamesOf(signals), "SIGHUP, SIGINT and 7 others");
}

TEST_F(InheritanceTest, FindsNothingUnusualInAnOrdinaryProcess) {
  EXPECT_THAT(Inheritance().Unusual(), IsEmpty());
}

TEST_F(InheritanceTest, HasAPhraseForEachThingThatIsUnusual) {
  Inheritance inherited;
  inherited.blocked = {SIGTERM};
  inherited.ignored = {SIGHUP, SIGUSR2, SIGTERM, SIGCHLD};
  EXPECT_THAT(inherited.Unusual(), ElementsAre("SIGHUP stays ignored"))
      << "the others are changed";
  inherited.ignored = {SIGHUP, SIGPIPE};
  inherited.file_size = {4096, RLIM_INFINITY};
  inherited.core = {RLIM_INFINITY, RLIM_INFINITY};
  inherited.has_no_directory = true;
  inherited.variables = {"LISTEN_FDS", "NOTIFY_SOCKET"};
  inherited.has_terminal = true;
  EXPECT_THAT(
      inherited.Unusual(),
      ElementsAre("SIGHUP, SIGPIPE stay ignored", "files up to 4096 bytes",
                  "core files without a limit", "the working directory is gone",
                  "variables LISTEN_FDS, NOTIFY_SOCKET",
                  "a controlling terminal"));
}

}  // namespace
}  // namespace brood::server

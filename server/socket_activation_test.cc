// SPDX-License-Identifier: Apache-2.0

#include "brood/server/socket_activation.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"
#include "brood/testing/fuzz/staged_process.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StagedProcess;
using ::brood::testing::StatusIs;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr int kFirst = StagedProcess::kFirst;
constexpr int kCount = StagedProcess::kCount;

// Returns the entry of the environment with which a service manager means this
// process.
std::string ListenPid() { return absl::StrCat("LISTEN_PID=", getpid()); }

class SocketActivationTest : public ::brood::testing::LeakCheck {
 protected:
  // StagedProcess keeps one descriptor permanently, which is not a leak of a
  // test.
  static void SetUpTestSuite() { const StagedProcess first({}); }
};

TEST_F(SocketActivationTest, InheritsNothingWithoutAServiceManager) {
  const StagedProcess staged({"PATH=/"});
  EXPECT_THAT(InheritListeners(), IsOkAndHolds(IsEmpty()));
  EXPECT_TRUE(StagedProcess::AreUntouched(kFirst, kCount));
}

// No listener has an entry: "inherited" stands for all of them.
TEST_F(SocketActivationTest, InheritsTheListenersInOrder) {
  const StagedProcess staged(
      {ListenPid(), "LISTEN_FDS=2", "LISTEN_FDNAMES=http:admin"});
  {
    const absl::StatusOr<std::vector<InheritedListener>> listeners =
        InheritListeners();
    ASSERT_THAT(listeners, IsOkAndHolds(SizeIs(2)));
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ((*listeners)[i].socket.fd(), kFirst + i);
      EXPECT_EQ((*listeners)[i].entry, "");
    }
    EXPECT_TRUE(StagedProcess::AreTaken(kFirst, 2));
    EXPECT_TRUE(StagedProcess::AreUntouched(kFirst + 2, kCount - 2));
    EXPECT_THAT(InheritListeners(), IsOkAndHolds(IsEmpty())) << "each once";
  }
  EXPECT_TRUE(StagedProcess::AreClosed(kFirst, 2)) << "they are owned";
}

TEST_F(SocketActivationTest, NamesTheVariableThatIsMalformed) {
  const StagedProcess staged({ListenPid(), "LISTEN_FDS=two"});
  EXPECT_THAT(InheritListeners(), StatusIs(absl::StatusCode::kInvalidArgument,
                                           StartsWith("LISTEN_FDS=two")));
}

TEST_F(SocketActivationTest, MovesTheNotifySocketToTheOptions) {
  const StagedProcess staged({"NOTIFY_SOCKET=/run/notify", "PATH=/"});
  Options options;
  TakeNotifySocket(&options);
  EXPECT_EQ(options.notify_socket, "/run/notify");
  EXPECT_EQ(getenv("NOTIFY_SOCKET"), nullptr) << "no child uses it";
  EXPECT_STREQ(getenv("PATH"), "/");
}

TEST_F(SocketActivationTest, KeepsTheNotifySocketOfTheOptionsWithoutAVariable) {
  const StagedProcess staged({"PATH=/"});
  Options options;
  options.notify_socket = "/run/other";
  TakeNotifySocket(&options);
  EXPECT_EQ(options.notify_socket, "/run/other");
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/generation_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "brood/net/socket.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using Kind = GenerationLink::Kind;

class GenerationLinkTest : public ::brood::testing::LeakCheck {
 protected:
  GenerationLinkTest() {
    auto pair = GenerationLink::CreatePair();
    EXPECT_THAT(pair, IsOk());
    here_ = std::move(pair->first);
    there_ = std::move(pair->second);
  }

  // Sends bytes that no GenerationLink sends.
  void SendRaw(const std::string& bytes) const {
    EXPECT_EQ(send(here_.fd(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }

  GenerationLink here_;
  GenerationLink there_;
};

TEST_F(GenerationLinkTest, SendsNumbersTextAndADescriptor) {
  EXPECT_THAT(here_.Send({Kind::kStarted, 4711, -3}, "why", STDERR_FILENO),
              IsOk());
  const auto received = there_.Receive();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->kind, Kind::kStarted);
  EXPECT_EQ(received->pid, 4711);
  EXPECT_EQ(received->value, -3);
  EXPECT_EQ(received->text, "why");
  ASSERT_TRUE(received->descriptor.valid());
  EXPECT_NE(fcntl(received->descriptor.fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_FALSE(there_.Receive());
  EXPECT_FALSE(there_.closed());
}

TEST_F(GenerationLinkTest, KeepsTheOrderInBothDirections) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(here_.Send({Kind::kStop, 0, i}), IsOk());
    EXPECT_THAT(there_.Send({Kind::kKill, i}), IsOk());
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(there_.Receive()->value, i);
    EXPECT_EQ(here_.Receive()->pid, i);
  }
}

TEST_F(GenerationLinkTest, EndsWhenTheOtherEndIsClosed) {
  EXPECT_THAT(here_.Send({Kind::kStop}), IsOk());
  here_.Close();
  EXPECT_TRUE(there_.Receive()) << "what was sent before";
  EXPECT_FALSE(there_.closed());
  EXPECT_FALSE(there_.Receive());
  EXPECT_TRUE(there_.closed());
  EXPECT_EQ(there_.fd(), -1);
  EXPECT_FALSE(there_.Receive());
  EXPECT_THAT(there_.Send({Kind::kStop}),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(GenerationLinkTest, SkipsBytesThatAreNoMessage) {
  SendRaw("short");
  SendRaw(std::string(GenerationLink::kLongestText + 100, 'x'));
  EXPECT_THAT(here_.Send({static_cast<Kind>(4711)}), IsOk())
      << "of a later version";
  EXPECT_THAT(here_.Send({Kind::kUpgrade}), IsOk());
  EXPECT_EQ(there_.Receive()->kind, static_cast<Kind>(4711));
  EXPECT_EQ(there_.Receive()->kind, Kind::kUpgrade);
}

TEST_F(GenerationLinkTest, RefusesATextThatIsTooLong) {
  const std::string longest(GenerationLink::kLongestText, 'x');
  EXPECT_THAT(here_.Send({Kind::kStart}, longest), IsOk());
  EXPECT_EQ(there_.Receive()->text, longest);
  EXPECT_THAT(here_.Send({Kind::kStart}, longest + "x"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(there_.Receive());
}

TEST_F(GenerationLinkTest, DoesNotBlockWhenTheOtherEndReadsNothing) {
  int sent = 0;
  absl::Status status;
  while (sent < 100000 && (status = here_.Send({Kind::kStop})).ok()) ++sent;
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_GT(sent, 8) << "some fit";
}

TEST_F(GenerationLinkTest, HasEndedWhenItIsMade) {
  GenerationLink link;
  EXPECT_TRUE(link.closed());
  EXPECT_FALSE(link.Receive());
  EXPECT_THAT(link.Send({Kind::kStop}),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace brood::server

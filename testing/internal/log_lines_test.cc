#include "brood/testing/internal/log_lines.h"

#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

class LogLinesTest : public LeakCheck {
 protected:
  void Say(absl::string_view text) {
    EXPECT_EQ(write(writer_.fd(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }

  net::Socket writer_;
  absl::StatusOr<LogLines> lines_ = LogLines::Create(&writer_);
};

TEST_F(LogLinesTest, GivesEachLineOnceAndKeepsTheOthers) {
  Say("one\ntwo\none more\n");
  EXPECT_THAT(lines_->Await("two", absl::Seconds(1)), IsOkAndHolds("two"));
  EXPECT_THAT(lines_->Await("one", absl::Seconds(1)), IsOkAndHolds("one"));
  EXPECT_THAT(lines_->TryTake("one"), Optional(std::string("one more")));
  EXPECT_FALSE(lines_->TryTake("one"));
  EXPECT_EQ(lines_->All(), "one\ntwo\none more\n");
}

TEST_F(LogLinesTest, HalfALineIsNoneYet) {
  Say("ha");
  EXPECT_FALSE(lines_->TryTake("ha"));
  Say("lf\n");
  EXPECT_THAT(lines_->TryTake("ha"), Optional(std::string("half")));
}

TEST_F(LogLinesTest, QuotesTheLogIfALineDoesNotComeInTime) {
  Say("something else\n");
  EXPECT_THAT(lines_->Await("wanted", absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("something else")));
}

TEST_F(LogLinesTest, SaysWhichOfSeveralLinesDidNotCome) {
  Say("ready\nready\n");
  EXPECT_THAT(lines_->AwaitAll(2, "ready", absl::Seconds(1)), IsOk());
  Say("ready\n");
  EXPECT_THAT(
      lines_->AwaitAll(2, "ready", absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("line 2 of 2")));
}

TEST_F(LogLinesTest, EndsWhenNobodyIsLeftWhoCouldWrite) {
  Say("the last\n");
  writer_.Close();
  EXPECT_THAT(lines_->Await("the last", absl::Seconds(1)), IsOk());
  EXPECT_THAT(lines_->Await("more", absl::InfiniteDuration()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("the last")));
}

}  // namespace
}  // namespace brood::testing

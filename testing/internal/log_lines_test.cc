// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/internal/log_lines.h"

#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

class LogLinesTest : public LeakCheck {
 protected:
  void Write(absl::string_view text) {
    EXPECT_EQ(write(writer_.fd(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }

  net::Socket writer_;
  absl::StatusOr<LogLines> lines_ = LogLines::Create(&writer_);
};

TEST_F(LogLinesTest, ReturnsEachLineOnceAndKeepsTheOthers) {
  Write("one\ntwo\none more\n");
  EXPECT_THAT(lines_->Await("two", absl::Seconds(1)), IsOkAndHolds("two"));
  EXPECT_THAT(lines_->Await("one", absl::Seconds(1)), IsOkAndHolds("one"));
  EXPECT_THAT(lines_->TryTake("one"), Optional(std::string("one more")));
  EXPECT_FALSE(lines_->TryTake("one"));
  EXPECT_EQ(lines_->All(), "one\ntwo\none more\n");
}

TEST_F(LogLinesTest, ReturnsALineWhenItIsComplete) {
  Write("ha");
  EXPECT_FALSE(lines_->TryTake("ha"));
  Write("lf\n");
  EXPECT_THAT(lines_->TryTake("ha"), Optional(std::string("half")));
}

TEST_F(LogLinesTest, QuotesTheLogIfALineDoesNotComeInTime) {
  Write("something else\n");
  EXPECT_THAT(lines_->Await("wanted", absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("something else")));
}

TEST_F(LogLinesTest, ReportsWhichOfSeveralLinesDidNotCome) {
  Write("ready\nready\n");
  EXPECT_THAT(lines_->AwaitAll(2, "ready", absl::Seconds(1)), IsOk());
  Write("ready\n");
  EXPECT_THAT(
      lines_->AwaitAll(2, "ready", absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("line 2 of 2")));
}

TEST_F(LogLinesTest, EndsWhenNoProcessCanWriteAnyMore) {
  Write("the last\n");
  writer_.Close();
  EXPECT_THAT(lines_->Await("the last", absl::Seconds(1)), IsOk());
  EXPECT_THAT(lines_->Await("more", absl::InfiniteDuration()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("the last")));
}

TEST_F(LogLinesTest, ReturnsEachEventOnceByItsName) {
  Write(R"({"event.action":"forked","brood.child.pid":1})"
        "\n"
        R"({"event.action":"ended","brood.child.pid":1})"
        "\n"
        R"({"event.action":"forked","brood.child.pid":2})"
        "\n");
  const auto ended = lines_->AwaitEvent("ended", absl::Seconds(1));
  ASSERT_THAT(ended, IsOk());
  EXPECT_EQ(ended->Number("brood.child.pid"), 1);
  const auto forked = lines_->AwaitEvents(2, "forked", absl::Seconds(1));
  ASSERT_THAT(forked, IsOk());
  EXPECT_EQ((*forked)[0].Number("brood.child.pid"), 1);
  EXPECT_EQ((*forked)[1].Number("brood.child.pid"), 2);
  EXPECT_THAT(
      lines_->AwaitEvent("forked", absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("forked")));
}

TEST_F(LogLinesTest, ReturnsTheEventThatHasTheFields) {
  Write(R"({"event.action":"ended","pid":1,"how":"killed"})"
        "\n"
        R"({"event.action":"ended","pid":2,"how":"ok"})"
        "\n"
        R"({"event.action":"ended","pid":3,"how":"ok"})"
        "\n");
  const auto second = lines_->AwaitEvent("ended", {{"pid", 2}, {"how", "ok"}},
                                         absl::Seconds(1));
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->Number("pid"), 2);
  const auto third =
      lines_->AwaitEvent("ended", {{"how", "ok"}}, absl::Seconds(1));
  ASSERT_THAT(third, IsOk());
  EXPECT_EQ(third->Number("pid"), 3);
  EXPECT_THAT(lines_->AwaitEvent("ended", {{"how", "ok"}, {"pid", 1}},
                                 absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("\"ended\" with how=ok with pid=1")));
}

TEST_F(LogLinesTest, TreatsNoOtherTextAsAnEvent) {
  Write(
      "forked pid 1\n"
      R"({"event.action":"fork-failed","message":"\"event.action\":\"forked\""})"
      "\n");
  EXPECT_THAT(lines_->AwaitEvent("forked", absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  const auto failed = lines_->AwaitEvent("fork-failed", absl::ZeroDuration());
  ASSERT_THAT(failed, IsOk());
  EXPECT_EQ(failed->Text("message"), "\"event.action\":\"forked\"");
}

TEST_F(LogLinesTest, TreatsNoEventAsALineWithAText) {
  Write(R"({"message":"forked pid 1","event.action":"forked"})"
        "\n"
        "forked by a handler\n");
  EXPECT_THAT(lines_->Await("forked", absl::Seconds(1)),
              IsOkAndHolds("forked by a handler"));
  EXPECT_THAT(lines_->Await("forked", absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("no line with \"forked\" yet")));
  EXPECT_THAT(lines_->AwaitEvent("forked", absl::ZeroDuration()), IsOk());
}

TEST_F(LogLinesTest, ReportsADamagedEvent) {
  Write(R"({"event.action":"forked","brood.child)"
        "\n");
  EXPECT_THAT(lines_->AwaitEvent("forked", absl::Seconds(1)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(LogLinesTest, ReportsWhichOfSeveralEventsDidNotCome) {
  Write(R"({"event.action":"forked"})"
        "\n");
  EXPECT_THAT(
      lines_->AwaitEvents(2, "forked", absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("line 2 of 2")));
}

}  // namespace
}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/logged_event.h"

#include <limits>
#include <stdexcept>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Property;
using ::testing::SizeIs;

TEST(LoggedEventTest, ReadsNumbersAndTexts) {
  const auto event = LoggedEvent::Parse(
      R"({"event.action":"forked","least":-9223372036854775808,"zero":0,)"
      R"("text":"caf\u00e9 \u20AC \"q\" \\ \/\b\f\n\r\t","empty":""})");
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->name(), "forked");
  EXPECT_EQ(event->Number("least"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(event->Number("zero"), 0);
  EXPECT_EQ(event->Text("text"),
            "caf\xc3\xa9 \xe2\x82\xac \"q\" \\ /\b\f\n\r\t");
  EXPECT_EQ(event->Text("empty"), "");
  EXPECT_TRUE(event->Has("zero"));
  EXPECT_FALSE(event->Has("one"));
  EXPECT_EQ(event->fields().size(), 5u);
  EXPECT_THAT(event->line(), HasSubstr(R"("zero":0)"));
}

TEST(LoggedEventTest, MayHaveNoName) {
  const auto event = LoggedEvent::Parse(R"({"a":1})");
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->name(), "");
}

TEST(LoggedEventTest, RejectsWhatTheLogDoesNotWrite) {
  for (const char* line : {
           "",
           "brood[1] info: forked",
           "{",
           "{}",
           R"({"a":1)",
           R"({"a":1}})",
           R"({"a":1} )",
           R"({ "a":1})",
           R"({"a":1,})",
           R"({"a":1 ,"b":2})",
           R"({"a":1;"b":2})",
           R"({"a":1,"a":2})",
           R"({"a"})",
           R"({"a":})",
           R"({a:1})",
           R"({"a":01})",
           R"({"a":-})",
           R"({"a":+1})",
           R"({"a":1.5})",
           R"({"a":1e5})",
           R"({"a":9223372036854775808})",
           R"({"a":true})",
           R"({"a":null})",
           R"({"a":{"b":1}})",
           R"({"a":[1]})",
           R"({"a":"b)",
           R"({"a":"b\"})",
           R"({"a":"\x"})",
           R"({"a":"\u12"})",
           R"({"a":"\u12g4"})",
           R"({"a":"\u+123"})",
           R"({"a":"\ud800"})",
           "{\"a\":\"\n\"}",
           "{\"a\":\"\x80\"}",
           "{\"a\":\"\xc0\xaf\"}",
           "{\"a\":\"\xe0\x9f\xbf\"}",
           "{\"a\":\"\xed\xa0\x80\"}",
           "{\"a\":\"\xf4\x90\x80\x80\"}",
           "{\"a\":\"\xf8\x88\x80\x80\x80\"}",
           "{\"a\":\"\xc3\"}",
       }) {
    EXPECT_THAT(LoggedEvent::Parse(line),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("not a JSON line")))
        << line;
  }
}

TEST(LoggedEventTest, ThrowsForAFieldThatIsMissingOrOfAnotherType) {
  const auto event = LoggedEvent::Parse(R"({"number":1,"text":"a"})");
  ASSERT_THAT(event, IsOk());
  EXPECT_THROW(event->Number("text"), std::out_of_range);
  EXPECT_THROW(event->Number("absent"), std::out_of_range);
  EXPECT_THROW(event->Text("number"), std::out_of_range);
  EXPECT_THROW(event->Text("absent"), std::out_of_range);
}

TEST(LoggedEventTest, ComparesSeveralFieldsByValueAndType) {
  const auto event = LoggedEvent::Parse(R"({"number":1,"text":"1"})");
  ASSERT_THAT(event, IsOk());
  EXPECT_TRUE(event->HasAll({}));
  EXPECT_TRUE(event->HasAll({{"number", 1}}));
  EXPECT_TRUE(event->HasAll({{"number", 1}, {"text", "1"}}));
  EXPECT_FALSE(event->HasAll({{"number", 1}, {"text", "2"}}));
  EXPECT_FALSE(event->HasAll({{"number", "1"}}));
  EXPECT_FALSE(event->HasAll({{"text", 1}}));
  EXPECT_FALSE(event->HasAll({{"absent", 0}}));
}

TEST(LoggedEventTest, IsPrintedAsItsLine) {
  const auto event = LoggedEvent::Parse(R"({"a":1})");
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(::testing::PrintToString(*event), R"({"a":1})");
}

TEST(LoggedEventTest, FindsTheNameOfALine) {
  const char kLine[] = R"({"event.action":"fork-failed","message":"forked"})";
  EXPECT_TRUE(LoggedEvent::IsLineOf("fork-failed", kLine));
  EXPECT_TRUE(LoggedEvent::IsLineOf("", kLine));
  EXPECT_FALSE(LoggedEvent::IsLineOf("fork", kLine));
  EXPECT_FALSE(LoggedEvent::IsLineOf("forked", kLine));
  EXPECT_FALSE(LoggedEvent::IsLineOf("", "event.action: forked"));
  EXPECT_FALSE(LoggedEvent::IsLineOf(
      "", R"({"message":"\"event.action\":\"forked\""})"));
}

TEST(EventsOfTest, SelectsByNameAndFieldsInTheOrderOfTheLog) {
  constexpr char kLog[] = R"({"event.action":"forked","pid":1})"
                          "\n"
                          "from a handler\n"
                          R"({"event.action":"ended","pid":1})"
                          "\n"
                          R"({"event.action":"forked","pid":2})"
                          "\n"
                          R"({"event.action":"forked","pid":3)";
  const auto forked = EventsOf(kLog, "forked");
  ASSERT_THAT(forked, SizeIs(2));
  EXPECT_EQ(forked[0].Number("pid"), 1);
  EXPECT_EQ(forked[1].Number("pid"), 2);
  EXPECT_THAT(EventsOf(kLog, "forked", {{"pid", 2}}), SizeIs(1));
  EXPECT_THAT(EventsOf(kLog, "ended", {{"pid", 2}}), IsEmpty());
  EXPECT_THAT(EventsOf(kLog, ""),
              ElementsAre(Property(&LoggedEvent::name, "forked"),
                          Property(&LoggedEvent::name, "ended"),
                          Property(&LoggedEvent::name, "forked")));
}

TEST(EventsOfTest, ThrowsForADamagedEventOfTheName) {
  constexpr char kLog[] = R"({"event.action":"forked","pid)"
                          "\n";
  EXPECT_THROW(EventsOf(kLog, "forked"), std::invalid_argument);
  EXPECT_THAT(EventsOf(kLog, "ended"), IsEmpty());
}

}  // namespace
}  // namespace brood::testing

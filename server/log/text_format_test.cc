// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/text_format.h"

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/endpoint.h"
#include "brood/server/log/event.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::EndsWith;
using ::testing::SizeIs;

std::string Message(const Event& event) {
  char memory[256];
  LineBuffer out(absl::MakeSpan(memory));
  AppendMessage(event, out);
  return std::string(out.text());
}

// Returns the message of an event with the fields that `add` adds, if any.
template <typename Add>
std::string Message(absl::string_view text, const Add& add) {
  Event event(LogLevel::kInfo, "name", text);
  add(event);
  return Message(event);
}

LineOrigin Origin() {
  LineOrigin origin;
  origin.pid = 4711;
  origin.time = absl::UnixEpoch() + absl::Microseconds(1500);
  return origin;
}

TEST(TextFormatTest, FillsPlaceholdersInOrder) {
  const net::Endpoint peer = *net::Endpoint::Parse("192.0.2.7:50112");
  EXPECT_EQ(Message("forked pid {} to handle {} ({} of {}){}",
                    [&](Event& event) {
                      event.Add("brood.child.pid", 4712)
                          .AddClient(peer)
                          .Add("brood.running", 3)
                          .Add("brood.cap", 1000)
                          .AddPhrase("!")
                          .Add("event.outcome", "not shown");
                    }),
            "forked pid 4712 to handle 192.0.2.7:50112 (3 of 1000)!");
}

TEST(TextFormatTest, WritesDurationsAsThePlaceholderAsks) {
  EXPECT_EQ(Message("{} s, {.0} s, {.1} s, {.6} s, {ms} ms",
                    [](Event& event) {
                      for (int i = 0; i < 5; ++i) {
                        event.Add("event.duration", absl::Microseconds(20500));
                      }
                    }),
            "0.021 s, 0 s, 0.0 s, 0.020500 s, 21 ms");
}

TEST(TextFormatTest, WritesATextWithoutPlaceholdersAsItIs) {
  EXPECT_EQ(Message("plain", [](Event&) {}), "plain");
  EXPECT_EQ(Message("", [](Event&) {}), "");
}

TEST(TextFormatTest, LeavesPlaceholdersWithoutAFieldEmpty) {
  EXPECT_EQ(Message("a {} b {} c", [](Event& event) { event.Add("x", 1); }),
            "a 1 b  c");
  EXPECT_EQ(Message("a {", [](Event& event) { event.Add("x", 1); }), "a 1");
}

TEST(TextFormatTest, LooksForNoPlaceholdersInValues) {
  EXPECT_EQ(Message("{} {}",
                    [](Event& event) { event.Add("x", "{}").Add("y", "z"); }),
            "{} z");
}

TEST(TextFormatTest, EscapesControlCharactersOfValues) {
  EXPECT_EQ(Message("{}",
                    [](Event& event) {
                      event.Add("x", absl::string_view("a\nb\x1b[0m\0\x7f", 9));
                    }),
            "a\\x0ab\\x1b[0m\\x00\\x7f");
  EXPECT_EQ(Message("{}", [](Event& event) { event.Add("x", "\xc3\xa9\xff"); }),
            "\xc3\xa9\xff");
}

TEST(TextFormatTest, WritesPidAndLevelBeforeTheText) {
  char memory[kMaxTextLine];
  EXPECT_EQ(FormatText(Event(LogLevel::kWarning, "killing", "killing {}")
                           .Add("brood.running", 3),
                       Origin(), TimeStamp::kNone, absl::MakeSpan(memory)),
            "brood[4711] warning: killing 3\n");
}

TEST(TextFormatTest, WritesTheTimeFirstIfAsked) {
  char memory[kMaxTextLine];
  EXPECT_EQ(FormatText(Event(LogLevel::kInfo, "name", "text"), Origin(),
                       TimeStamp::kMilliseconds, absl::MakeSpan(memory)),
            "1970-01-01T00:00:00.001Z brood[4711] info: text\n");
}

TEST(TextFormatTest, CutsTheEndOfALongLineAndKeepsItsNewline) {
  const std::string text(5000, 'x');
  char memory[kMaxTextLine];
  const std::string line(
      FormatText(Event(LogLevel::kInfo, "name", "{}").Add("x", text), Origin(),
                 TimeStamp::kNone, absl::MakeSpan(memory)));
  EXPECT_THAT(line, SizeIs(kMaxTextLine));
  EXPECT_THAT(line, EndsWith("xxx\n"));
}

TEST(TextFormatTest, WritesALineIntoMemoryOfEachSize) {
  char memory[100];
  const Event event(LogLevel::kInfo, "name", "0123456789");
  const std::string whole(
      FormatText(event, Origin(), TimeStamp::kNone, absl::MakeSpan(memory)));
  for (size_t size = 1; size <= whole.size(); ++size) {
    const std::string line(FormatText(event, Origin(), TimeStamp::kNone,
                                      absl::MakeSpan(memory, size)));
    EXPECT_LE(line.size(), size);
    EXPECT_EQ(line, whole.substr(0, line.size() - 1) + "\n");
  }
}

}  // namespace
}  // namespace brood::server

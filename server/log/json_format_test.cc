// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/json_format.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/endpoint.h"
#include "brood/net/peer_address.h"
#include "brood/server/log/event.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::LoggedEvent;
using ::testing::HasSubstr;

// Returns the line of `event`, without its newline.
std::string Json(const Event& event) {
  LineOrigin origin;
  origin.pid = 4711;
  origin.time = absl::UnixEpoch() + absl::Microseconds(1500);
  std::string memory(kMaxJsonLine, '.');
  absl::string_view line = FormatJson(event, origin, absl::MakeSpan(memory));
  EXPECT_TRUE(absl::ConsumeSuffix(&line, "\n"));
  EXPECT_FALSE(absl::StrContains(line, "\n"));
  return std::string(line);
}

LoggedEvent Parsed(const Event& event) {
  const absl::StatusOr<LoggedEvent> parsed = LoggedEvent::Parse(Json(event));
  EXPECT_THAT(parsed, IsOk());
  return *parsed;
}

// Returns what stands in the JSON line for `text`.
std::string Escaped(absl::string_view text) {
  const std::string line = Json(Event(LogLevel::kInfo, "n", "").Add("x", text));
  const std::string before = "\"x\":\"";
  const size_t begin = line.find(before) + before.size();
  return line.substr(begin, line.size() - begin - 2);
}

TEST(JsonFormatTest, WritesTheCommonKeysFirst) {
  EXPECT_EQ(Json(Event(LogLevel::kWarning, "killing", "killing {} children")
                     .Add("brood.running", 3)),
            R"({"@timestamp":"1970-01-01T00:00:00.001500Z",)"
            R"("log.level":"warning","message":"killing 3 children",)"
            R"("event.action":"killing","service.name":"brood",)"
            R"("service.version":"0.1.0","process.pid":4711,)"
            R"("brood.running":3})");
}

TEST(JsonFormatTest, WritesNumbersUnquotedAndDurationsInNanoseconds) {
  EXPECT_THAT(Json(Event(LogLevel::kInfo, "n", "")
                       .Add("least", std::numeric_limits<int64_t>::min())
                       .Add("event.duration", absl::Microseconds(1500))
                       .Add("forever", absl::InfiniteDuration())),
              HasSubstr(R"("least":-9223372036854775808,)"
                        R"("event.duration":1500000,)"
                        R"("forever":9223372036854775807})"));
}

TEST(JsonFormatTest, SplitsTheAddressOfAClient) {
  for (const char* host : {"192.0.2.7", "[2001:db8::1]"}) {
    const net::Endpoint peer =
        *net::Endpoint::Parse(absl::StrCat(host, ":50112"));
    const LoggedEvent event =
        Parsed(Event(LogLevel::kInfo, "n", "").AddClient(peer));
    EXPECT_EQ(event.Text("client.address"),
              host[0] == '[' ? "2001:db8::1" : host);
    EXPECT_EQ(event.Number("client.port"), 50112);
    EXPECT_EQ(event.Text("network.transport"), "tcp");
    EXPECT_FALSE(event.Has("brood.listener"));
  }
}

TEST(JsonFormatTest, WritesNoAddressForAClientOfAUnixSocket) {
  const net::PeerAddress peer = net::PeerAddress::FromSockaddr([] {
    sockaddr_storage address = {};
    address.ss_family = AF_UNIX;
    return address;
  }());
  ASSERT_EQ(peer.ToString(), "unix:");
  EXPECT_THAT(Json(Event(LogLevel::kInfo, "n", "").AddClient(peer)),
              HasSubstr(R"("process.pid":4711,"network.transport":"unix"})"));
}

TEST(JsonFormatTest, SplitsTheAddressOfAListenerAndKeepsItsText) {
  const struct {
    const char* text;
    const char* address;
    bool tcp;
  } kListeners[] = {
      {"127.0.0.1:7000", "127.0.0.1", true},
      {"[::1]:7000", "::1", true},
      {":7000", "::", true},
      {"unix:/run/x.sock", "/run/x.sock", false},
      {"unix:@x", "@x", false},
  };
  for (const auto& [text, address, tcp] : kListeners) {
    const net::Endpoint listener = *net::Endpoint::Parse(text);
    const LoggedEvent event =
        Parsed(Event(LogLevel::kInfo, "n", "").AddListener(listener));
    EXPECT_EQ(event.Text("brood.listener"), text);
    EXPECT_EQ(event.Text("server.address"), address);
    EXPECT_EQ(event.Text("network.transport"), tcp ? "tcp" : "unix");
    EXPECT_EQ(event.Has("server.port"), tcp);
    EXPECT_TRUE(!tcp || event.Number("server.port") == 7000);
  }
}

TEST(JsonFormatTest, HasTheLocalAddressOfAConnectionBesideThatOfItsClient) {
  const net::PeerAddress client =
      net::Endpoint::Parse("192.0.2.7:50112")->ToAddress();
  const net::PeerAddress local =
      net::Endpoint::Parse("[::1]:7000")->ToAddress();
  const LoggedEvent event =
      Parsed(Event(LogLevel::kInfo, "n", "").AddClient(client).AddLocal(local));
  EXPECT_EQ(event.Text("client.address"), "192.0.2.7");
  EXPECT_EQ(event.Text("server.address"), "::1");
  EXPECT_EQ(event.Number("server.port"), 7000);
  EXPECT_FALSE(event.Has("brood.listener"));
}

TEST(JsonFormatTest, HasNoServerAddressForAUnixConnection) {
  const net::PeerAddress end = net::PeerAddress::Unix();
  const LoggedEvent event =
      Parsed(Event(LogLevel::kInfo, "n", "").AddClient(end).AddLocal(end));
  EXPECT_EQ(event.Text("network.transport"), "unix");
  EXPECT_FALSE(event.Has("server.address"));
}

TEST(JsonFormatTest, LeavesOutPhrases) {
  EXPECT_EQ(
      Json(Event(LogLevel::kInfo, "n", "{}").AddPhrase("a").Add("x", "b")),
      Json(Event(LogLevel::kInfo, "n", "a").Add("x", "b")));
}

TEST(JsonFormatTest, EscapesQuotesAndControlCharacters) {
  EXPECT_EQ(Escaped("a \"b\" \\c/"), R"(a \"b\" \\c/)");
  EXPECT_EQ(Escaped(absl::string_view("\0\n\x1f \x7f", 5)),
            R"(\u0000\u000a\u001f \u007f)");
  EXPECT_EQ(Escaped("\xc2\x80\xc2\x9f\xc2\xa0"), "\\u0080\\u009f\xc2\xa0");
}

TEST(JsonFormatTest, KeepsUtf8) {
  for (const char* text :
       {"\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xef\xbf\xbf",
        "\xf0\x9f\x90\xa3", "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80",
        "\xf0\x90\x80\x80"}) {
    EXPECT_EQ(Escaped(text), text);
  }
}

TEST(JsonFormatTest, ReplacesEachByteThatIsNotUtf8) {
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(Escaped("\xff"), bad);
  EXPECT_EQ(Escaped("\x80x"), bad + "x");
  EXPECT_EQ(Escaped("\xc0\xaf"), bad + bad);            // overlong
  EXPECT_EQ(Escaped("\xe0\x9f\xbf"), bad + bad + bad);  // overlong
  EXPECT_EQ(Escaped("\xf0\x8f\xbf\xbf"), bad + bad + bad + bad);
  EXPECT_EQ(Escaped("\xed\xa0\x80"), bad + bad + bad);  // a surrogate
  EXPECT_EQ(Escaped("\xf4\x90\x80\x80"), bad + bad + bad + bad);
  EXPECT_EQ(Escaped("\xc3"), bad);
  EXPECT_EQ(Escaped("\xe2\x82"), bad + bad);
  EXPECT_EQ(Escaped("\xc3\"x"), bad + "\\\"x");
}

TEST(JsonFormatTest, CutsTextsAndKeepsTheObjectWhole) {
  for (const char* unit : {"x", "\x01", "\xff", "\"", "\xf0\x9f\x90\xa3"}) {
    std::string text;
    while (text.size() < 10000) text += unit;
    Event event(LogLevel::kError, "upgrade-failed", "{} {} {}");
    event.Add("brood.upgrade.path", text)
        .Add("brood.notification", text)
        .Add("error.message", text);
    for (int i = 0; i < 13; ++i) {
      event.Add("brood.upgrade.failures", std::numeric_limits<int64_t>::min());
    }
    const std::string line = Json(event);
    EXPECT_LT(line.size(), kMaxJsonLine);
    EXPECT_THAT(line, HasSubstr("\"brood.upgrade.failures\":-9223"));
  }
}

TEST(JsonFormatTest, CutsATextAtTheLastPossibleCharacter) {
  for (size_t size = 440; size < 460; ++size) {
    const std::string text = std::string(size, 'x') + "\xf0\x9f\x90\xa3";
    const std::string kept =
        Parsed(Event(LogLevel::kInfo, "n", "").Add("x", text)).Text("x");
    EXPECT_EQ(kept, text.size() <= 450
                        ? text
                        : text.substr(0, std::min<size_t>(size, 450)));
  }
}

// With more text than EventLog has in any event.
TEST(JsonFormatTest, LeavesOutWholeFieldsForWhichThereIsNoRoom) {
  const std::string keys[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
  const std::string text(1000, 'x');
  for (size_t length = 0; length < 500; ++length) {
    const std::string filler(length, 'y');
    Event event(LogLevel::kInfo, "n", "");
    event.Add("filler", filler);
    for (const std::string& key : keys) event.Add(key, text);
    const LoggedEvent parsed = Parsed(event.Add("k", 123456789));
    EXPECT_TRUE(parsed.Has("f"));
    EXPECT_FALSE(parsed.Has("j"));
    EXPECT_FALSE(parsed.Has("k"));
  }
}

}  // namespace
}  // namespace brood::server

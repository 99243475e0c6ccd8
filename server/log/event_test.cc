// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/event.h"

#include <cstdint>
#include <limits>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

int64_t NumberIn(const Event& event, size_t field) {
  return std::get<int64_t>(event.fields()[field].value);
}

TEST(EventTest, HasALevelANameAndAText) {
  const Event event(LogLevel::kWarning, "killing", "killing {} children");
  EXPECT_EQ(event.level(), LogLevel::kWarning);
  EXPECT_EQ(event.name(), "killing");
  EXPECT_EQ(event.text(), "killing {} children");
  EXPECT_TRUE(event.fields().empty());
}

TEST(EventTest, KeepsTypedFieldsInOrder) {
  Event event(LogLevel::kInfo, "name", "text");
  event.Add("number", 1)
      .Add("duration", absl::Seconds(2))
      .Add("literal", "three")
      .Add("string", std::string("four").c_str())
      .AddPhrase("five");
  ASSERT_EQ(event.fields().size(), 5u);
  EXPECT_EQ(event.fields()[0].key, "number");
  EXPECT_EQ(NumberIn(event, 0), 1);
  EXPECT_EQ(std::get<absl::Duration>(event.fields()[1].value),
            absl::Seconds(2));
  EXPECT_EQ(std::get<absl::string_view>(event.fields()[2].value), "three");
  EXPECT_EQ(event.fields()[4].key, "");
  EXPECT_EQ(std::get<absl::string_view>(event.fields()[4].value), "five");
}

TEST(EventTest, TakesIntegersOfEachType) {
  Event event(LogLevel::kInfo, "name", "text");
  event.Add("signed", std::numeric_limits<int64_t>::min())
      .Add("small", static_cast<unsigned char>(255))
      .Add("int", -1)
      .Add("most", static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      .Add("too_large", std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(NumberIn(event, 0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(NumberIn(event, 1), 255);
  EXPECT_EQ(NumberIn(event, 2), -1);
  EXPECT_EQ(NumberIn(event, 3), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(NumberIn(event, 4), std::numeric_limits<int64_t>::max());
}

TEST(EventTest, PrintsAnAddressWhenItIsAskedTo) {
  net::Endpoint peer = *net::Endpoint::Parse("192.0.2.7:1");
  Event event(LogLevel::kInfo, "name", "text");
  event.AddClient(peer).AddListener(peer);
  EXPECT_EQ(event.fields()[0].key, "client");
  EXPECT_EQ(event.fields()[1].key, "server");
  peer = peer.WithPort(50112);
  char text[AddressView::kTextSize];
  EXPECT_EQ(std::get<AddressView>(event.fields()[0].value).Print(text),
            "192.0.2.7:50112");
}

// A type of addresses whose text is short.
struct ShortAddress {
  static constexpr size_t kTextSize = 3;
  absl::string_view Print(char (&text)[kTextSize]) const {
    text[0] = 'a';
    return {text, 1};
  }
};

TEST(EventTest, TakesEachTypeOfAddressThatPrints) {
  const ShortAddress address;
  char text[AddressView::kTextSize];
  EXPECT_EQ(AddressView(address).Print(text), "a");
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0
//
// Tests FormatJson() and FormatText() with any values of an event: the result
// is one line of limited length, the JSON line is one flat object in valid
// UTF-8 (LoggedEvent::Parse() is strict), and its message is that of the text
// line.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/server/log/event.h"
#include "brood/server/log/json_format.h"
#include "brood/server/log/text_format.h"
#include "brood/testing/fuzz/require.h"
#include "brood/testing/logged_event.h"

namespace brood::server {
namespace {

using ::brood::testing::LoggedEvent;
using ::brood::testing::Require;

// AnyAddress is an address with any text, as a peer may choose it.
class AnyAddress {
 public:
  static constexpr size_t kTextSize = 120;
  explicit AnyAddress(absl::string_view text)
      : text_(text.substr(0, kTextSize)) {}
  absl::string_view Print(char (&text)[kTextSize]) const {
    text_.copy(text, text_.size());
    return {text, text_.size()};
  }

 private:
  const absl::string_view text_;
};

void CheckEvent(const Event& event, absl::string_view input) {
  LineOrigin origin;
  origin.pid = 4711;
  std::string text_memory(kMaxTextLine, '.');
  absl::string_view text =
      FormatText(event, origin, TimeStamp::kNone, absl::MakeSpan(text_memory));
  Require(absl::ConsumeSuffix(&text, "\n"), "a text line has an end", input);
  Require(!absl::StrContains(text, "\n"), "text is one line", input);

  std::string json_memory(kMaxJsonLine, '.');
  absl::string_view json =
      FormatJson(event, origin, absl::MakeSpan(json_memory));
  Require(absl::ConsumeSuffix(&json, "\n"), "a JSON line has an end", input);
  const absl::StatusOr<LoggedEvent> parsed = LoggedEvent::Parse(json);
  Require(parsed.ok(), "each line is JSON", input);
  Require(parsed->name() == "fuzzed", "the event keeps its name", input);
  for (const char* key : {"brood.child.pid", "event.duration"}) {
    Require(parsed->Has(key), "numbers are not lost", input);
  }
  if (!absl::ConsumePrefix(&text, "brood[4711] info: ")) {
    Require(false, "a line begins with its process", input);
  }
  const std::string& message = parsed->Text("message");
  const bool plain = !absl::StrContains(message, "\xef\xbf\xbd");
  // A text line is cut earlier than a message, because it has the pid and the
  // level, too.
  if (plain && text.size() + 100 < kMaxTextLine) {
    Require(message == text, "both formats have one message", input);
  }
}

}  // namespace
}  // namespace brood::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using brood::server::AnyAddress;
  using brood::server::CheckEvent;
  using brood::server::Event;
  using brood::server::LogLevel;
  const absl::string_view input(reinterpret_cast<const char*>(bytes), size);
  const absl::string_view half = input.substr(0, size / 2);
  const AnyAddress peer(input);
  const AnyAddress listener(half);
  CheckEvent(Event(LogLevel::kInfo, "fuzzed", "{} of {}: {}, {.6} s")
                 .Add("brood.child.pid", size)
                 .AddClient(peer)
                 .Add("error.message", input)
                 .Add("event.duration", absl::Nanoseconds(size))
                 .AddPhrase(half)
                 .Add("brood.notification", half),
             input);
  CheckEvent(Event(LogLevel::kInfo, "fuzzed", "{}{ms}{}{}{}")
                 .Add("brood.child.pid", -1)
                 .Add("event.duration", absl::InfiniteDuration())
                 .AddListener(listener)
                 .AddPhrase(input)
                 .Add("brood.upgrade.path", half),
             input);
  return 0;
}

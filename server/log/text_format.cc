// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/text_format.h"

#include <cstdint>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"

namespace brood::server {
namespace {

// Appends `text` with each control character as "\xNN".
void AppendPrintable(absl::string_view text, LineBuffer& out) {
  constexpr absl::string_view kDigits = "0123456789abcdef";
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (!absl::ascii_iscntrl(byte)) continue;
    out.Append(text.substr(begin, i - begin));
    out.Append("\\x");
    out.Append(kDigits.substr(byte >> 4, 1));
    out.Append(kDigits.substr(byte & 0xf, 1));
    begin = i + 1;
  }
  out.Append(text.substr(begin));
}

// ValueAppender appends a value in the form of its placeholder. `form` is the
// text between the braces.
struct ValueAppender {
  void operator()(int64_t number) const { out.AppendInteger(number); }
  void operator()(absl::string_view text) const { AppendPrintable(text, out); }
  void operator()(const AddressView& address) const {
    char text[AddressView::kTextSize];
    AppendPrintable(address.Print(text), out);
  }
  void operator()(absl::Duration length) const {
    if (form == "ms") {
      out.AppendInteger(
          absl::ToInt64Milliseconds(length + absl::Microseconds(500)));
    } else {
      out.AppendSeconds(length, form.size() == 2 ? form[1] - '0' : 3);
    }
  }

  absl::string_view form;
  LineBuffer& out;
};

}  // namespace

void AppendMessage(const Event& event, LineBuffer& out) {
  absl::string_view text = event.text();
  size_t next = 0;
  while (!text.empty()) {
    const size_t open = text.find('{');
    out.Append(text.substr(0, open));
    if (open == absl::string_view::npos) return;
    const size_t close = text.find('}', open);
    if (next < event.fields().size()) {
      const absl::string_view form = text.substr(open + 1, close - open - 1);
      std::visit(ValueAppender{form, out}, event.fields()[next++].value);
    }
    if (close == absl::string_view::npos) return;
    text.remove_prefix(close + 1);
  }
}

absl::string_view FormatText(const Event& event, const LineOrigin& origin,
                             TimeStamp stamp, absl::Span<char> memory) {
  LineBuffer out(memory.first(memory.size() - 1));
  if (stamp == TimeStamp::kMilliseconds) {
    out.AppendTime(origin.time, 3);
    out.Append(" ");
  }
  out.Append(origin.name);
  out.Append("[");
  out.AppendInteger(origin.pid);
  out.Append("] ");
  out.Append(NameOf(event.level()));
  out.Append(": ");
  AppendMessage(event, out);
  memory[out.size()] = '\n';
  return {memory.data(), out.size() + 1};
}

}  // namespace brood::server

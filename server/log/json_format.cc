// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/json_format.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <variant>

#include "absl/time/time.h"
#include "brood/server/log/flat_fields.h"
#include "brood/server/log/line_buffer.h"
#include "brood/server/log/text_format.h"
#include "brood/server/text/version.h"

namespace brood::server {
namespace {

// The largest number of bytes of a message, with its escapes. A message, three
// other texts and the numbers of an event fit into a line.
constexpr size_t kMaxMessage = 1600;
// The same number for any other text.
constexpr size_t kMaxText = 450;

constexpr absl::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// Returns the length of the UTF-8 character at the beginning of `text`, which
// is not empty; 0 if there is none: a stray byte, an overlong form, a surrogate
// or a number beyond U+10FFFF.
size_t CharacterLength(absl::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4 || !continues(1)) return 0;
  if (first < 0xe0) return 2;
  if (!continues(2)) return 0;
  if (first < 0xf0) {
    if (first == 0xe0 && byte(1) < 0xa0) return 0;
    if (first == 0xed && byte(1) >= 0xa0) return 0;
    return 3;
  }
  if (!continues(3)) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) >= 0x90) return 0;
  return 4;
}

// Returns whether `c` is written unchanged in a JSON string, as one byte.
bool IsPlain(char c) { return c >= ' ' && c < '\x7f' && c != '"' && c != '\\'; }

// Piece is the first `length` bytes of a text, and how they are written in a
// JSON string.
struct Piece {
  absl::string_view escaped;
  size_t length;
};

constexpr size_t kLongestEscape = sizeof("\\u0000") - 1;

// Returns the first piece of `text`, which is not empty: at most `most` bytes
// that are written unchanged, or one character whose escape is in `memory`.
Piece NextPiece(absl::string_view text, size_t most,
                char (&memory)[kLongestEscape]) {
  const auto plain = static_cast<size_t>(
      std::find_if_not(text.begin(), text.end(), IsPlain) - text.begin());
  if (plain > 0) {
    const absl::string_view piece = text.substr(0, std::min(plain, most));
    return {piece, piece.size()};
  }
  const size_t length = CharacterLength(text);
  if (length == 0) return {kReplacement, 1};
  auto code = static_cast<unsigned char>(text[0]);
  if (length == 1 && (code == '"' || code == '\\')) {
    memory[0] = '\\';
    memory[1] = text[0];
    return {{memory, 2}, 1};
  }
  if (length == 2 && code == 0xc2) code = static_cast<unsigned char>(text[1]);
  const bool control = length == 1 || (length == 2 && code < 0xa0);
  if (!control) return {text.substr(0, length), length};
  constexpr absl::string_view kDigits = "0123456789abcdef";
  const char escape[kLongestEscape] = {
      '\\', 'u', '0', '0', kDigits[code >> 4], kDigits[code & 0xf]};
  std::copy(std::begin(escape), std::end(escape), memory);
  return {{memory, kLongestEscape}, length};
}

// ObjectWriter writes the members of one object, each of them whole or not at
// all.
class ObjectWriter {
 public:
  explicit ObjectWriter(LineBuffer& out) : out_(out) { out_.Append("{"); }

  void Integer(absl::string_view key, int64_t value) {
    const size_t before = Begin(key);
    out_.AppendInteger(value);
    if (out_.overflowed()) out_.Truncate(before);
  }

  // Writes no more than `most` bytes of the escaped text.
  void Text(absl::string_view key, absl::string_view value,
            size_t most = kMaxText) {
    const size_t before = Begin(key);
    out_.Append("\"");
    size_t left = out_.room() == 0 ? 0 : std::min(most, out_.room() - 1);
    while (!value.empty()) {
      char memory[kLongestEscape];
      const Piece piece = NextPiece(value, left, memory);
      if (piece.escaped.empty() || piece.escaped.size() > left) break;
      out_.Append(piece.escaped);
      left -= piece.escaped.size();
      value.remove_prefix(piece.length);
    }
    out_.Append("\"");
    if (out_.overflowed()) out_.Truncate(before);
  }

  void Time(absl::string_view key, absl::Time time) {
    Begin(key);
    out_.Append("\"");
    out_.AppendTime(time, 6);
    out_.Append("\"");
  }

 private:
  // Begins a member, and returns the size of the line before it.
  size_t Begin(absl::string_view key) {
    const size_t before = out_.size();
    out_.Append(before == 1 ? "\"" : ",\"");
    out_.Append(key);
    out_.Append("\":");
    return before;
  }

  LineBuffer& out_;
};

void WriteMessage(const Event& event, ObjectWriter& object) {
  char memory[kMaxTextLine];
  LineBuffer message(absl::MakeSpan(memory));
  AppendMessage(event, message);
  object.Text("message", message.text(), kMaxMessage);
}

}  // namespace

absl::string_view FormatJson(const Event& event, const LineOrigin& origin,
                             absl::Span<char> memory) {
  constexpr absl::string_view kEnd = "}\n";
  LineBuffer out(memory.first(memory.size() - kEnd.size()));
  ObjectWriter object(out);
  object.Time("@timestamp", origin.time);
  object.Text("log.level", NameOf(event.level()));
  WriteMessage(event, object);
  object.Text("event.action", event.name());
  object.Text("service.name", origin.name);
  object.Text("service.version", kVersion);
  object.Integer("process.pid", origin.pid);
  const FlatFields flat(event);
  for (const LogField& field : flat.fields()) {
    if (const auto* number = std::get_if<int64_t>(&field.value)) {
      object.Integer(field.key, *number);
    } else {
      object.Text(field.key, std::get<absl::string_view>(field.value));
    }
  }
  const size_t size = out.size();
  std::copy(kEnd.begin(), kEnd.end(), memory.begin() + size);
  return {memory.data(), size + kEnd.size()};
}

}  // namespace brood::server

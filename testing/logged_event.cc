// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/logged_event.h"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"

namespace brood::testing {
namespace {

// Appends the character `code` as UTF-8. Returns false for a surrogate, which
// the log does not write.
bool AppendUtf8(uint32_t code, std::string* text) {
  if (code >= 0xd800 && code < 0xe000) return false;
  if (code < 0x80) {
    text->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    text->push_back(static_cast<char>(0xc0 | code >> 6));
    text->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    text->push_back(static_cast<char>(0xe0 | code >> 12));
    text->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    text->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
  return true;
}

bool IsHexDigit(char c) {
  return absl::ascii_isxdigit(static_cast<unsigned char>(c));
}

// Reads one object from the beginning of a text.
class Reader {
 public:
  explicit Reader(absl::string_view text) : rest_(text) {}

  bool Skip(absl::string_view text) {
    return absl::ConsumePrefix(&rest_, text);
  }
  bool at_end() const { return rest_.empty(); }
  bool at_string() const { return !rest_.empty() && rest_[0] == '"'; }

  absl::optional<std::string> String() {
    if (!Skip("\"")) return absl::nullopt;
    std::string text;
    while (!Skip("\"")) {
      if (!Character(&text)) return absl::nullopt;
    }
    return text;
  }

  absl::optional<int64_t> Integer() {
    size_t length = !rest_.empty() && rest_[0] == '-' ? 1 : 0;
    const size_t first = length;
    while (length < rest_.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(rest_[length]))) {
      ++length;
    }
    int64_t number;
    if (length == first || (rest_[first] == '0' && length > first + 1) ||
        !absl::SimpleAtoi(rest_.substr(0, length), &number)) {
      return absl::nullopt;
    }
    rest_.remove_prefix(length);
    return number;
  }

 private:
  // Reads a character of a string, with its escape.
  bool Character(std::string* text) {
    if (rest_.empty()) return false;
    const auto first = static_cast<unsigned char>(rest_[0]);
    if (first == '\\') return Escape(text);
    if (first < 0x20) return false;
    const size_t length = Utf8Length();
    if (length == 0) return false;
    text->append(rest_.data(), length);
    rest_.remove_prefix(length);
    return true;
  }

  bool Escape(std::string* text) {
    rest_.remove_prefix(1);
    if (rest_.empty()) return false;
    const char kind = rest_[0];
    rest_.remove_prefix(1);
    constexpr absl::string_view kEscapes = "\"\\/bfnrt";
    constexpr absl::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const size_t simple = kEscapes.find(kind);
    if (simple != absl::string_view::npos) {
      text->push_back(kMeanings[simple]);
      return true;
    }
    uint32_t code;
    if (kind != 'u' || rest_.size() < 4 ||
        !std::all_of(rest_.begin(), rest_.begin() + 4, IsHexDigit) ||
        !absl::SimpleHexAtoi(rest_.substr(0, 4), &code)) {
      return false;
    }
    rest_.remove_prefix(4);
    return AppendUtf8(code, text);
  }

  // Returns the length of the UTF-8 character at the beginning; 0 if there is
  // none.
  size_t Utf8Length() const {
    const auto first = static_cast<unsigned char>(rest_[0]);
    const size_t length = first < 0x80   ? 1
                          : first < 0xc0 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf8 ? 4
                                         : 0;
    if (length <= 1) return length;
    if (rest_.size() < length) return 0;
    uint32_t code = first & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      if ((byte & 0xc0) != 0x80) return 0;
      code = code << 6 | (byte & 0x3fu);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < kLeast[length] || code > 0x10ffff || surrogate ? 0 : length;
  }

  absl::string_view rest_;
};

}  // namespace

absl::StatusOr<LoggedEvent> LoggedEvent::Parse(absl::string_view line) {
  const absl::Status invalid = absl::InvalidArgumentError(
      absl::StrCat("not a JSON line of the log: ", absl::CHexEscape(line)));
  LoggedEvent event;
  event.line_ = std::string(line);
  Reader reader(line);
  if (!reader.Skip("{")) return invalid;
  do {
    absl::optional<std::string> key = reader.String();
    if (!key || !reader.Skip(":")) return invalid;
    Value value;
    if (reader.at_string()) {
      absl::optional<std::string> text = reader.String();
      if (!text) return invalid;
      value = *std::move(text);
    } else {
      const absl::optional<int64_t> number = reader.Integer();
      if (!number) return invalid;
      value = *number;
    }
    if (!event.fields_.emplace(*std::move(key), std::move(value)).second) {
      return invalid;  // the object has the key twice
    }
  } while (reader.Skip(","));
  if (!reader.Skip("}") || !reader.at_end()) return invalid;
  return event;
}

bool LoggedEvent::IsLineOf(absl::string_view name, absl::string_view line) {
  // This is not found inside a string, where quotes are escaped.
  constexpr absl::string_view kKey = "\"event.action\":\"";
  const size_t at = line.find(kKey);
  if (at == absl::string_view::npos) return false;
  line.remove_prefix(at + kKey.size());
  return name.empty() ||
         (absl::ConsumePrefix(&line, name) && absl::StartsWith(line, "\""));
}

absl::string_view LoggedEvent::name() const {
  return Has("event.action") ? Text("event.action") : absl::string_view();
}

bool LoggedEvent::Has(absl::string_view key) const {
  return fields_.find(key) != fields_.end();
}

bool LoggedEvent::HasAll(const Fields& fields) const {
  return std::all_of(fields.begin(), fields.end(), [this](const auto& field) {
    const auto found = fields_.find(field.first);
    return found != fields_.end() && found->second == field.second;
  });
}

int64_t LoggedEvent::Number(absl::string_view key) const {
  const auto* const number = std::get_if<int64_t>(&Get(key));
  if (number == nullptr) {
    throw std::out_of_range(absl::StrCat(key, " is no number in ", line_));
  }
  return *number;
}

const std::string& LoggedEvent::Text(absl::string_view key) const {
  const auto* const text = std::get_if<std::string>(&Get(key));
  if (text == nullptr) {
    throw std::out_of_range(absl::StrCat(key, " is no text in ", line_));
  }
  return *text;
}

const LoggedEvent::Value& LoggedEvent::Get(absl::string_view key) const {
  const auto found = fields_.find(key);
  if (found == fields_.end()) {
    throw std::out_of_range(absl::StrCat(key, " is missing in ", line_));
  }
  return found->second;
}

std::ostream& operator<<(std::ostream& stream, const LoggedEvent& event) {
  return stream << event.line();
}

std::vector<LoggedEvent> EventsOf(absl::string_view log, absl::string_view name,
                                  const LoggedEvent::Fields& fields) {
  std::vector<LoggedEvent> events;
  for (size_t end; (end = log.find('\n')) != absl::string_view::npos;
       log.remove_prefix(end + 1)) {
    const absl::string_view line = log.substr(0, end);
    if (!LoggedEvent::IsLineOf(name, line)) continue;
    absl::StatusOr<LoggedEvent> event = LoggedEvent::Parse(line);
    if (!event.ok()) {
      throw std::invalid_argument(std::string(event.status().message()));
    }
    if (event->HasAll(fields)) events.push_back(*std::move(event));
  }
  return events;
}

}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_TEXT_FORMAT_H_
#define BROOD_SERVER_LOG_TEXT_FORMAT_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/server/log/event.h"
#include "brood/server/log/line_buffer.h"

namespace brood::server {

// The length of the longest text line, with its newline. A pipe takes it whole
// or not at all.
inline constexpr size_t kMaxTextLine = 1024;

// TimeStamp is whether a text line begins with the time of day.
enum class TimeStamp {
  // The line has no time.
  kNone,
  // The line has a UTC time with milliseconds.
  kMilliseconds,
};

// Appends the text of `event` without a newline. Control characters in its
// fields are written as "\x1b", so an event is always one line. Placeholders
// without a field stay empty.
void AppendMessage(const Event& event, LineBuffer& out);

// Writes `event` as a line of text into `memory` and returns the line, which
// ends in a newline:
//
//   brood[4711] info: forked pid 4712 to handle 127.0.0.1:50112 (1 of 1000)
//
// A line that is too long for `memory` (at least one byte) loses its end and
// keeps its newline.
absl::string_view FormatText(const Event& event, const LineOrigin& origin,
                             TimeStamp stamp, absl::Span<char> memory);

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_TEXT_FORMAT_H_

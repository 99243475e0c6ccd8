// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_LEVEL_H_
#define BROOD_SERVER_LOG_LEVEL_H_

#include <cstdint>
#include <functional>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace brood::server {

// LogLevel is the least important kind of line that the log writes.
//
// The values are ordered: a log of level kWarning writes warnings and errors.
//
// Example:
//   absl::StatusOr<LogLevel> level = ParseLogLevel("warning");
//   if (!level.ok()) return level.status();
//   options.log.level = *level;
enum class LogLevel {
  // Writes a line for each event, connections among them.
  kInfo,
  // Writes what needs attention, though the server goes on.
  kWarning,
  // Writes what makes the server fail.
  kError,
  // Writes nothing.
  kOff,
};

// LogFormat is the form of the lines of the log.
enum class LogFormat {
  // Writes sentences.
  kText,
  // Writes one JSON object for each line.
  kJson,
};

// LogField is a value of an event and its key, as a JSON line has them; see
// server/log/json_keys.txt.
struct LogField {
  // Value is an integer (a duration is one of nanoseconds) or a text, which may
  // hold any bytes.
  using Value = std::variant<int64_t, absl::string_view>;

  absl::string_view key;
  Value value = int64_t{0};
};

// LogRecord is an event of the log, as a function of the embedder gets it. What
// it refers to lives until that function returns.
//
// Example:
//   options.log.sink = [&](const LogRecord& record) {
//     out << NameOf(record.level) << ": " << record.message << "\n";
//   };
struct LogRecord {
  LogLevel level = LogLevel::kInfo;
  // The time of day.
  absl::Time time = absl::UnixEpoch();
  // The name of the event, such as "ended".
  absl::string_view name;
  // The sentence of the event in one line, without a newline.
  absl::string_view message;
  // What the event is about.
  absl::Span<const LogField> fields;
};

// LogSink takes events in place of standard error; see Options::log.
using LogSink = std::function<void(const LogRecord&)>;

// Returns "info", "warning", "error" or "off".
absl::string_view NameOf(LogLevel level);
// Returns "text" or "json".
absl::string_view NameOf(LogFormat format);

// Returns the level whose name is exactly `text`. Returns InvalidArgument, with
// the names that are allowed, if there is none.
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text);
// Returns the format whose name is exactly `text`, or InvalidArgument likewise.
absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view text);

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_LEVEL_H_

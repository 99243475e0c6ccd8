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

// LogRecord is an event of the log, as a LogSink gets it. Its texts and fields
// live until the LogSink returns.
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
  // The sentence that describes the event: one line, without a newline.
  absl::string_view message;
  // The data of the event.
  absl::Span<const LogField> fields;
};

// LogSink takes events in place of standard error; see Options::log.
using LogSink = std::function<void(const LogRecord&)>;

// LogOptions controls the log, which is standard error unless there is a
// `sink`. It is the type of Options::log.
//
// A value. Its fields are those of the flags that begin with "log_".
struct LogOptions {
  // Sets the least important kind of line that is written. kOff writes none.
  //
  // Default: LogLevel::kInfo.
  LogLevel level = LogLevel::kInfo;

  // Sets the form of each line: a sentence, or a JSON object whose keys are
  // those of OpenTelemetry and of the Elastic Common Schema.
  //
  // Default: LogFormat::kText.
  LogFormat format = LogFormat::kText;

  // Begins each line of text with the time of day (RFC 3339, UTC,
  // milliseconds), unless standard error is systemd's journal, which stamps
  // lines itself. Lines of JSON always have the time.
  //
  // Default: true.
  bool time = true;

  // Names the server at the beginning of each line of text, and as the service
  // in JSON. 1 to 64 printable characters of ASCII.
  //
  // Default: "brood".
  std::string name = "brood";

  // Limits how many lines of the level info about connections are written to
  // standard error, so that clients cannot fill a disk: this many a second, and
  // five times as many in a burst. Lines beyond the limit are counted, and a
  // warning reports their number once a second. All other lines, and every
  // warning and error, are written in any case, and a `sink` gets every event.
  //
  // Default: 1000. Range: 0 (no limit) to 1000000 lines a second.
  int rate = 1000;

  // Takes the events of the parent that have the level, instead of standard
  // error. Called in the parent, while the server is created, runs and is
  // destroyed. It must not throw: if it does, the program ends, with a line on
  // standard error. Lines of children (their peer, an exception) are still
  // written to standard error.
  //
  // Default: none.
  LogSink sink = nullptr;
};

// ChildStderr chooses the file of descriptor 2 of a child.
enum class ChildStderr {
  // kOwn in children that are forked ahead of their connection (spares, pool),
  // where no client waits for it, and kShared in the others.
  kAhead,
  // The standard error of the server, opened again for each child, so that the
  // flags and the position that a child sets are its own. A socket, and a file
  // that was not opened to append, cannot be opened again: they are shared.
  kOwn,
  // The open file of the server, which fork shares with children.
  kShared,
  // /dev/null. Children log nothing.
  kNull,
};

// Returns "ahead", "own", "shared" or "null".
absl::string_view NameOf(ChildStderr choice);
// Returns the choice whose name is exactly `text`. Returns InvalidArgument,
// with the names that are allowed, if there is none.
absl::StatusOr<ChildStderr> ParseChildStderr(absl::string_view text);

// Returns "info", "warning", "error" or "off".
absl::string_view NameOf(LogLevel level);
// Returns "text" or "json".
absl::string_view NameOf(LogFormat format);

// Returns the level whose name is exactly `text`. Returns InvalidArgument, with
// the names that are allowed, if there is none.
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text);
// Returns the format whose name is exactly `text`. Returns InvalidArgument,
// with the names that are allowed, if there is none.
absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view text);

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_LEVEL_H_

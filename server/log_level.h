// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_LEVEL_H_
#define BROOD_SERVER_LOG_LEVEL_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

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

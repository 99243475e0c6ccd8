// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log_level.h"

#include "brood/server/text/name_table.h"

namespace brood::server {
namespace {

constexpr NamedValue<LogLevel> kLevels[] = {
    {LogLevel::kInfo, "info"},
    {LogLevel::kWarning, "warning"},
    {LogLevel::kError, "error"},
    {LogLevel::kOff, "off"},
};

constexpr NamedValue<LogFormat> kFormats[] = {
    {LogFormat::kText, "text"},
    {LogFormat::kJson, "json"},
};

constexpr NamedValue<ChildStderr> kChildStderrNames[] = {
    {ChildStderr::kAhead, "ahead"},
    {ChildStderr::kOwn, "own"},
    {ChildStderr::kShared, "shared"},
    {ChildStderr::kNull, "null"},
};

}  // namespace

absl::string_view NameOf(ChildStderr choice) {
  return FindName(kChildStderrNames, choice);
}

absl::StatusOr<ChildStderr> ParseChildStderr(absl::string_view text) {
  return ParseName(kChildStderrNames, "child_stderr", text);
}

absl::string_view NameOf(LogLevel level) { return FindName(kLevels, level); }

absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text) {
  return ParseName(kLevels, "log_level", text);
}

absl::string_view NameOf(LogFormat format) {
  return FindName(kFormats, format);
}

absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view text) {
  return ParseName(kFormats, "log_format", text);
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

// The names that flags and configuration files use for values of Options.

#include "brood/server/log_level.h"
#include "brood/server/strategy_kind.h"
#include "brood/server/text/name_table.h"

namespace brood::server {
namespace {

constexpr NamedValue<StrategyKind> kStrategies[] = {
    {StrategyKind::kFork, "fork"}, {StrategyKind::kSpares, "spares"},
    {StrategyKind::kPool, "pool"}, {StrategyKind::kZygote, "zygote"},
    {StrategyKind::kAuto, "auto"},
};

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

absl::string_view NameOf(StrategyKind kind) {
  return FindName(kStrategies, kind);
}

absl::StatusOr<StrategyKind> ParseStrategyKind(absl::string_view text) {
  return ParseName(kStrategies, "strategy", text);
}

std::vector<StrategyKind> AllStrategyKinds() {
  std::vector<StrategyKind> kinds;
  for (const NamedValue<StrategyKind>& row : kStrategies)
    kinds.push_back(row.value);
  return kinds;
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

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log_level.h"

#include "brood/server/text/name_table.h"

namespace brood::server {
namespace {

constexpr NamedValue<LogLevel> kNames[] = {
    {LogLevel::kInfo, "info"},
    {LogLevel::kWarning, "warning"},
    {LogLevel::kError, "error"},
    {LogLevel::kOff, "off"},
};

}  // namespace

absl::string_view NameOf(LogLevel level) { return FindName(kNames, level); }

absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text) {
  return ParseName(kNames, "log_level", text);
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/options.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/server/text/listen_entry.h"
#include "brood/server/text/name_table.h"

namespace brood::server {
namespace {

constexpr NamedValue<OnParentDeath> kOnParentDeathNames[] = {
    {OnParentDeath::kFinish, "finish"},
    {OnParentDeath::kDie, "die"},
};

constexpr NamedValue<ChildGroup> kChildGroupNames[] = {
    {ChildGroup::kOwn, "group"},
    {ChildGroup::kSession, "session"},
    {ChildGroup::kInherit, "inherit"},
};

constexpr NamedValue<UnixDeadlines> kUnixDeadlinesNames[] = {
    {UnixDeadlines::kRefuse, "refuse"},
    {UnixDeadlines::kConnectionOnly, "connection_only"},
};

constexpr int kLargestSize = 16 << 20;
constexpr int kHighestOomScore = 1000;
constexpr int kMostConnections = 1000000;
constexpr int kMostAhead = 100000;
constexpr int kFastestLog = 1000000;
constexpr int kLongestBacklog = 1 << 20;
constexpr absl::Duration kLongestLinger = absl::Hours(1);
constexpr absl::Duration kLongestGrace = absl::Hours(24);
// A shorter timeout is a mistake of units, and would pass before anything could
// happen.
constexpr absl::Duration kShortestTimeout = absl::Milliseconds(1);
constexpr absl::Duration kLongestTimeout = absl::Hours(24 * 365);
// The kernel counts keepalive times in seconds, up to 32767.
constexpr absl::Duration kShortestPeerTimeout = absl::Seconds(1);
constexpr absl::Duration kLongestPeerTimeout = absl::Hours(9);

absl::Status CheckRange(absl::string_view field, int value, int low, int high) {
  if (low <= value && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, "=", value, ": must be ", low, " to ", high));
}

absl::Status CheckListen(const Options& options) {
  if (options.listen.empty()) {
    return absl::InvalidArgumentError("listen=: must name an endpoint");
  }
  for (const std::string& text : options.listen) {
    const absl::StatusOr<ListenEntry> entry = ListenEntry::Parse(text);
    if (!entry.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "listen=", absl::CHexEscape(text), ": ", entry.status().message()));
    }
    absl::Status kept = options.CheckDeadlinesOn(entry->endpoint);
    if (!kept.ok()) return kept;
  }
  return absl::OkStatus();
}

absl::Status CheckLogName(absl::string_view name) {
  constexpr size_t kLongestName = 64;
  if (!name.empty() && name.size() <= kLongestName &&
      absl::c_all_of(name, absl::ascii_isprint)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("log.name=", absl::CHexEscape(name), ": must be 1 to ",
                   kLongestName, " printable characters of ASCII"));
}

// Checks an enum, which may hold a number that is none of its enumerators.
template <typename Enum>
absl::Status CheckEnum(absl::string_view field, Enum value) {
  if (!NameOf(value).empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, "=", static_cast<int>(value),
                   ": must be an enumerator of its type"));
}

absl::Status CheckLength(absl::string_view field, absl::Duration length,
                         absl::Duration longest) {
  if (absl::ZeroDuration() <= length && length <= longest) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(field, "=", absl::FormatDuration(length), ": must be 0 to ",
                   absl::FormatDuration(longest)));
}

// Checks that a timeout is off, or long enough to be enforced.
absl::Status CheckTimeout(absl::string_view field, absl::Duration length,
                          absl::Duration shortest, absl::Duration longest) {
  if (length == absl::ZeroDuration() ||
      (shortest <= length && length <= longest)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      field, "=", absl::FormatDuration(length), ": must be 0, or ",
      absl::FormatDuration(shortest), " to ", absl::FormatDuration(longest)));
}

absl::Status CheckUpgradeCommand(const std::vector<std::string>& command) {
  if (command.empty() || absl::StartsWith(command.front(), "/")) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("upgrade.command=", absl::CHexEscape(command.front()),
                   ": must begin with the absolute path of a program"));
}

}  // namespace

absl::Status Options::Validate() const {
  for (const absl::Status& status :
       {CheckListen(*this),
        CheckEnum("strategy", strategy),
        unix_mode >= 0 && unix_mode <= 0777
            ? absl::OkStatus()
            : absl::InvalidArgumentError("unix_mode: must be 0000 to 0777"),
        CheckRange("max_size", max_size, 1, kLargestSize),
        CheckLength("linger", linger, kLongestLinger),
        CheckRange("max_connections", max_connections, 1, kMostConnections),
        CheckRange("spares.min", spares.min, 1, kMostAhead),
        CheckRange("spares.max", spares.max, spares.min, kMostAhead),
        CheckRange("pool.workers", pool.workers, 1, kMostAhead),
        CheckRange("pool.max_connections", pool.max_connections, 1,
                   kMostConnections),
        CheckRange("backlog", backlog, 0, kLongestBacklog),
        CheckLength("drain_grace", drain_grace, kLongestGrace),
        CheckTimeout("deadlines.first_byte", deadlines.first_byte,
                     kShortestTimeout, kLongestTimeout),
        CheckTimeout("deadlines.idle", deadlines.idle, kShortestTimeout,
                     kLongestTimeout),
        CheckTimeout("deadlines.connection", deadlines.connection,
                     kShortestTimeout, kLongestTimeout),
        CheckTimeout("deadlines.peer", deadlines.peer, kShortestPeerTimeout,
                     kLongestPeerTimeout),
        CheckTimeout("upgrade.timeout", upgrade.timeout, kShortestTimeout,
                     kLongestTimeout),
        CheckUpgradeCommand(upgrade.command),
        CheckEnum("children", children),
        CheckRange("hardening.oom_score_adj", hardening.oom_score_adj, 0,
                   kHighestOomScore),
        CheckEnum("unix_deadlines", unix_deadlines),
        CheckEnum("on_parent_death", on_parent_death),
        CheckEnum("log.level", log.level),
        CheckEnum("log.format", log.format),
        CheckRange("log.rate", log.rate, 0, kFastestLog),
        CheckEnum("child_stderr", child_stderr),
        CheckLogName(log.name)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Options::CheckDeadlinesOn(const net::Endpoint& endpoint) const {
  if (!endpoint.is_unix() || unix_deadlines == UnixDeadlines::kConnectionOnly) {
    return absl::OkStatus();
  }
  const struct {
    const char* field;
    absl::Duration length;
  } unavailable[] = {{"deadlines.first_byte", deadlines.first_byte},
                     {"deadlines.idle", deadlines.idle}};
  for (const auto& deadline : unavailable) {
    if (deadline.length == absl::ZeroDuration()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        deadline.field, "=", absl::FormatDuration(deadline.length),
        ": must be 0 with ", endpoint.ToString(),
        ", since the kernel does not report when bytes moved on a unix socket; "
        "there is deadlines.connection, which unix_deadlines=connection_only "
        "leaves to unix sockets"));
  }
  return absl::OkStatus();
}

size_t Options::Capacity() const {
  return static_cast<size_t>(strategy == StrategyKind::kPool
                                 ? std::min(max_connections, pool.workers)
                                 : max_connections);
}

absl::string_view NameOf(OnParentDeath choice) {
  return FindName(kOnParentDeathNames, choice);
}

absl::StatusOr<OnParentDeath> ParseOnParentDeath(absl::string_view text) {
  return ParseName(kOnParentDeathNames, "on_parent_death", text);
}

absl::string_view NameOf(UnixDeadlines choice) {
  return FindName(kUnixDeadlinesNames, choice);
}

absl::StatusOr<UnixDeadlines> ParseUnixDeadlines(absl::string_view text) {
  return ParseName(kUnixDeadlinesNames, "unix_deadlines", text);
}

absl::string_view NameOf(ChildGroup choice) {
  return FindName(kChildGroupNames, choice);
}

absl::StatusOr<ChildGroup> ParseChildGroup(absl::string_view text) {
  return ParseName(kChildGroupNames, "children", text);
}

}  // namespace brood::server

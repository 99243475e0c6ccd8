#include "brood/server/options.h"

#include <algorithm>
#include <set>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/server/listen_entry.h"

namespace brood::server {
namespace {

constexpr int kLargestSize = 16 << 20;
constexpr int kMostConnections = 1000000;
constexpr int kMostAhead = 100000;
constexpr int kLongestBacklog = 1 << 20;
constexpr absl::Duration kLongestGrace = absl::Hours(24);
constexpr absl::Duration kLongestTimeout = absl::Hours(24 * 365);
// The kernel's own limit for keepalive times is 32767 s.
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

absl::Status CheckInherited(const std::vector<InheritedListener>& inherited) {
  std::set<int> seen;
  for (const InheritedListener& each : inherited) {
    if (each.fd >= 0 && seen.insert(each.fd).second) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("inherited=", each.fd, ": must be a descriptor, once"));
  }
  return absl::OkStatus();
}

absl::Status CheckStrategy(const std::string& strategy) {
  for (const char* known : {"fork", "spares", "pool", "zygote", "auto"}) {
    if (strategy == known) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("strategy=", absl::CHexEscape(strategy),
                   ": must be fork, spares, pool, zygote or auto"));
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

absl::Status CheckUpgradeCommand(const std::vector<std::string>& command) {
  if (command.empty() || absl::StartsWith(command.front(), "/")) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("upgrade_command=", absl::CHexEscape(command.front()),
                   ": must begin with the absolute path of a program"));
}

}  // namespace

absl::Status Options::Validate() const {
  for (const absl::Status& status :
       {CheckListen(*this), CheckInherited(inherited), CheckStrategy(strategy),
        unix_mode >= 0 && unix_mode <= 0777
            ? absl::OkStatus()
            : absl::InvalidArgumentError("unix_mode: must be 0000 to 0777"),
        CheckRange("max_size", max_size, 1, kLargestSize),
        CheckRange("max_connections", max_connections, 1, kMostConnections),
        CheckRange("min_spares", min_spares, 1, kMostAhead),
        CheckRange("max_spares", max_spares, min_spares, kMostAhead),
        CheckRange("workers", workers, 1, kMostAhead),
        CheckRange("max_connections_per_worker", max_connections_per_worker, 1,
                   kMostConnections),
        CheckRange("backlog", backlog, 0, kLongestBacklog),
        CheckLength("drain_grace", drain_grace, kLongestGrace),
        CheckLength("first_byte_timeout", first_byte_timeout, kLongestTimeout),
        CheckLength("idle_timeout", idle_timeout, kLongestTimeout),
        CheckLength("connection_timeout", connection_timeout, kLongestTimeout),
        CheckLength("peer_timeout", peer_timeout, kLongestPeerTimeout),
        CheckLength("upgrade_timeout", upgrade_timeout, kLongestTimeout),
        CheckUpgradeCommand(upgrade_command)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Options::CheckDeadlinesOn(const net::Endpoint& endpoint) const {
  if (!endpoint.is_unix()) return absl::OkStatus();
  const struct {
    const char* name;
    absl::Duration length;
  } deadlines[] = {{"first_byte_timeout", first_byte_timeout},
                   {"idle_timeout", idle_timeout}};
  for (const auto& deadline : deadlines) {
    if (deadline.length == absl::ZeroDuration()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        deadline.name, "=", absl::FormatDuration(deadline.length),
        ": must be 0 with ", endpoint.ToString(),
        ", since the kernel does not tell when bytes moved on a unix socket; "
        "there is connection_timeout"));
  }
  return absl::OkStatus();
}

size_t Options::Capacity() const {
  return static_cast<size_t>(strategy == "pool"
                                 ? std::min(max_connections, workers)
                                 : max_connections);
}

absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text) {
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  if (text == "off") return LogLevel::kOff;
  return absl::InvalidArgumentError(
      absl::StrCat("log_level=", absl::CHexEscape(text),
                   ": must be info, warning, error or off"));
}

absl::StatusOr<OnParentDeath> ParseOnParentDeath(absl::string_view text) {
  if (text == "finish") return OnParentDeath::kFinish;
  if (text == "die") return OnParentDeath::kDie;
  return absl::InvalidArgumentError(absl::StrCat(
      "on_parent_death=", absl::CHexEscape(text), ": must be finish or die"));
}

}  // namespace brood::server

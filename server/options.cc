#include "brood/server/options.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"

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

absl::Status CheckListen(const std::vector<std::string>& listen) {
  if (listen.empty()) {
    return absl::InvalidArgumentError("listen=: must name an endpoint");
  }
  for (const std::string& text : listen) {
    const absl::StatusOr<net::Endpoint> endpoint = net::Endpoint::Parse(text);
    if (!endpoint.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("listen=", text, ": ", endpoint.status().message()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckStrategy(const std::string& strategy) {
  for (const char* known : {"fork", "spares", "pool", "zygote", "auto"}) {
    if (strategy == known) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "strategy=", strategy, ": must be fork, spares, pool, zygote or auto"));
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

}  // namespace

absl::Status Options::Validate() const {
  for (const absl::Status& status :
       {CheckListen(listen), CheckStrategy(strategy),
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
        CheckLength("peer_timeout", peer_timeout, kLongestPeerTimeout)}) {
    if (!status.ok()) return status;
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
  return absl::InvalidArgumentError(absl::StrCat(
      "log_level=", text, ": must be info, warning, error or off"));
}

absl::StatusOr<OnParentDeath> ParseOnParentDeath(absl::string_view text) {
  if (text == "finish") return OnParentDeath::kFinish;
  if (text == "die") return OnParentDeath::kDie;
  return absl::InvalidArgumentError(
      absl::StrCat("on_parent_death=", text, ": must be finish or die"));
}

}  // namespace brood::server

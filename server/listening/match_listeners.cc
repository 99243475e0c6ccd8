// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/match_listeners.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/net/unix_file/socket_file.h"

namespace brood::server {
namespace {

using Means = bool (*)(const AskedEntry&, const OfferedListener&);

void Give(OfferedListener& offered, AskedEntry& asked) {
  offered.taken = true;
  asked.got.push_back(std::move(offered.opened));
}

// Assigns to each entry that has no listener yet the first listener that it
// means.
void AssignFirstMatch(std::vector<AskedEntry>& all_asked,
                      std::vector<OfferedListener>& all_offered, Means means) {
  for (AskedEntry& asked : all_asked) {
    if (!asked.got.empty()) continue;
    const auto found =
        std::find_if(all_offered.begin(), all_offered.end(),
                     [&](const OfferedListener& offered) {
                       return !offered.taken && means(asked, offered);
                     });
    if (found != all_offered.end()) Give(*found, asked);
  }
}

bool IsEndpoint(const AskedEntry& asked) {
  return asked.entry.kind == ListenEntry::kEndpoint;
}

bool HasServed(const AskedEntry& asked, const OfferedListener& offered) {
  return asked.entry.kind != ListenEntry::kInherited &&
         offered.served == *asked.text;
}

bool HasNumber(const AskedEntry& asked, const OfferedListener& offered) {
  return asked.entry.kind == ListenEntry::kDescriptor &&
         offered.served.empty() && offered.fd == asked.entry.fd;
}

bool HasAddress(const AskedEntry& asked, const OfferedListener& offered) {
  return IsEndpoint(asked) &&
         offered.opened.socket.endpoint() == asked.entry.endpoint;
}

// Returns whether the entry and the listener have two spellings of one address,
// or two paths of one file.
bool HasSameAddress(const AskedEntry& asked, const OfferedListener& offered) {
  if (!IsEndpoint(asked)) return false;
  const net::Endpoint& wanted = asked.entry.endpoint;
  const net::Endpoint& listens = offered.opened.socket.endpoint();
  if (!wanted.is_unix()) {
    return listens.Covers(wanted) && wanted.Covers(listens);
  }
  if (wanted.path().empty() || listens.path().empty()) return false;
  const std::string path(wanted.path());
  return (absl::StartsWith(listens.path(), "/") &&
          net::IsSameFile(path, std::string(listens.path()))) ||
         net::LookForSocketFile(offered.opened.socket.fd(), path) ==
             net::FileState::kOurs;
}

bool HasHost(const AskedEntry& asked, const OfferedListener& offered) {
  const net::Endpoint& wanted = asked.entry.endpoint;
  return IsEndpoint(asked) && !wanted.is_unix() && wanted.port() == 0 &&
         offered.opened.socket.endpoint().WithPort(0) == wanted.Unmapped();
}

bool CoversEntry(const AskedEntry& asked, const OfferedListener& offered) {
  return IsEndpoint(asked) && !asked.entry.endpoint.is_unix() &&
         offered.opened.socket.endpoint().Covers(asked.entry.endpoint);
}

// Assigns to an entry that means every address the listeners of every IPv4 and
// of every IPv6 address. If one of the two is missing, it is bound later.
void AssignHalves(std::vector<AskedEntry>& all_asked,
                  std::vector<OfferedListener>& all_offered) {
  for (AskedEntry& asked : all_asked) {
    if (!IsEndpoint(asked) || !asked.entry.endpoint.dual_stack()) continue;
    for (OfferedListener& offered : all_offered) {
      if (offered.taken || !offered.opened.socket.endpoint().is_any()) continue;
      const net::Endpoint& half = offered.opened.socket.endpoint();
      const bool fits = std::all_of(
          asked.got.begin(), asked.got.end(), [&](const OpenedListener& got) {
            const net::Endpoint& other = got.socket.endpoint();
            return !other.dual_stack() && other.is_ipv6() != half.is_ipv6() &&
                   other.port() == half.port();
          });
      const uint16_t port = asked.entry.endpoint.port();
      if (!half.dual_stack() && fits &&
          (port == 0 ? !asked.got.empty() : port == half.port())) {
        Give(offered, asked);
      }
    }
  }
}

// Marks the entries without a listener that are served by a listener of another
// entry. Does not mark an entry if both could not be bound without an inherited
// listener: whether that is an error must not depend on what was inherited.
void FindCovered(std::vector<AskedEntry>& all_asked, EventLog* log) {
  for (AskedEntry& asked : all_asked) {
    if (!IsEndpoint(asked) || !asked.got.empty()) continue;
    const net::Endpoint& wanted = asked.entry.endpoint;
    if (wanted.is_unix() || wanted.port() == 0) continue;
    const bool conflicts = std::any_of(
        all_asked.begin(), all_asked.end(), [&](const AskedEntry& other) {
          return &other != &asked && IsEndpoint(other) &&
                 (other.entry.endpoint.Covers(wanted) ||
                  wanted.Covers(other.entry.endpoint));
        });
    if (conflicts) continue;
    for (const AskedEntry& other : all_asked) {
      for (const OpenedListener& got : other.got) {
        if (asked.is_covered || !got.socket.endpoint().Covers(wanted)) continue;
        asked.is_covered = true;
        log->InheritedListenerWider(
            got.socket.endpoint(), *asked.text,
            wanted.is_any() ? LogLevel::kInfo : LogLevel::kWarning);
      }
    }
  }
}

// Assigns the listeners that no other entry means to the entry "inherited", or
// closes them.
absl::Status AssignRemaining(std::vector<AskedEntry>& all_asked,
                             std::vector<OfferedListener>& all_offered,
                             EventLog* log) {
  const auto rest = std::find_if(
      all_asked.begin(), all_asked.end(), [](const AskedEntry& asked) {
        return asked.entry.kind == ListenEntry::kInherited;
      });
  if (rest != all_asked.end() && all_offered.empty()) {
    return absl::FailedPreconditionError(
        "listen=inherited: no listening descriptor was inherited");
  }
  for (OfferedListener& offered : all_offered) {
    if (offered.taken) continue;
    if (rest != all_asked.end()) {
      Give(offered, *rest);
    } else {
      net::Listener& unused = offered.opened.socket;
      log->InheritedListenerUnused(offered.fd, unused.endpoint());
      unused.Close();
    }
  }
  return absl::OkStatus();
}

// Logs which listeners accept connections that their entries do not name. Each
// program logs it, also if the program before it has.
void ReportWider(const std::vector<AskedEntry>& all_asked, EventLog* log) {
  for (const AskedEntry& asked : all_asked) {
    if (!IsEndpoint(asked) || asked.entry.endpoint.is_unix()) continue;
    for (const OpenedListener& got : asked.got) {
      const net::Endpoint& listens = got.socket.endpoint();
      const net::Endpoint wanted =
          asked.entry.endpoint.WithPort(listens.port());
      if (wanted.Covers(listens)) continue;
      log->InheritedListenerWider(
          listens, *asked.text,
          wanted.is_any() ? LogLevel::kInfo : LogLevel::kWarning);
    }
  }
}

}  // namespace

absl::Status MatchListeners(std::vector<AskedEntry>* asked,
                            std::vector<OfferedListener>* offered,
                            EventLog* log) {
  for (const Means means : {HasServed, HasNumber, HasAddress, HasSameAddress,
                            HasHost, CoversEntry}) {
    AssignFirstMatch(*asked, *offered, means);
  }
  AssignHalves(*asked, *offered);
  absl::Status given = AssignRemaining(*asked, *offered, log);
  if (!given.ok()) return given;
  ReportWider(*asked, log);
  FindCovered(*asked, log);
  return absl::OkStatus();
}

}  // namespace brood::server

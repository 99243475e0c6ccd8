// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/open_listeners.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/net/unix_file/socket_file.h"
#include "brood/server/listening/configure_listener.h"
#include "brood/server/listening/match_listeners.h"
#include "brood/server/text/listen_entry.h"

namespace brood::server {
namespace {

// Takes ownership of the descriptors that entries name by number and that were
// not inherited.
absl::Status AdoptByNumber(std::vector<AskedEntry>& all_asked,
                           const std::vector<OfferedListener>& all_offered) {
  // Inherited descriptors have an owner already, and so has a descriptor that
  // was adopted here for another entry.
  std::vector<int> owned;
  for (const OfferedListener& offered : all_offered)
    owned.push_back(offered.fd);
  for (AskedEntry& asked : all_asked) {
    const int fd = asked.entry.fd;
    if (asked.entry.kind != ListenEntry::kDescriptor || !asked.got.empty()) {
      continue;
    }
    if (std::find(owned.begin(), owned.end(), fd) != owned.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "listen=", *asked.text, ": this descriptor serves another entry"));
    }
    // A descriptor that is no listener stays with its owner.
    absl::Status listens = net::CheckListening(fd);
    if (!listens.ok()) return listens;
    absl::StatusOr<net::Listener> adopted =
        net::Listener::Adopt(net::Socket::Adopt(fd));
    if (!adopted.ok()) return adopted.status();
    owned.push_back(fd);
    asked.got.push_back({{*std::move(adopted), *asked.text}});
  }
  return absl::OkStatus();
}

// Checks whether clients find each unix socket that was inherited. If they do
// not find a socket that the server had bound, it is given up and bound again:
// the program before this one serves the clients in its queue. If they do not
// find a socket of another program, the reason may be that this program opened
// it in another mount namespace.
void FindFiles(std::vector<AskedEntry>& all_asked, EventLog* log) {
  for (AskedEntry& asked : all_asked) {
    for (const OpenedListener& got : asked.got) {
      const std::string path = PathOfListener(got.socket, *asked.text);
      if (path.empty()) continue;
      const net::FileState state =
          net::LookForSocketFile(got.socket.fd(), path);
      const bool found =
          state == net::FileState::kOurs || state == net::FileState::kUnknown;
      // A relative path leads to another file in the working directory of its
      // owner.
      if (found || path.front() != '/') continue;
      const absl::string_view why =
          state == net::FileState::kMissing
              ? "its file has been removed"
              : "its file has been replaced by another one";
      if (asked.entry.kind == ListenEntry::kEndpoint && got.ends_with_server) {
        log->ListenerRebound(asked.entry.endpoint, why);
        asked.got.clear();
        break;
      }
      log->ListenerUnreachable(got.socket.endpoint(), why);
    }
  }
}

// Binds `endpoint` for the entry.
absl::Status Bind(const net::Endpoint& endpoint, const Options& options,
                  AskedEntry* asked) {
  absl::StatusOr<net::Listener> listener = net::Listener::Listen(
      endpoint, options.backlog, static_cast<mode_t>(options.unix_mode));
  if (!listener.ok()) return listener.status();
  net::NewSocketFile file{std::string(endpoint.path())};
  asked->got.push_back(
      {{*std::move(listener), *asked->text, /*ends_with_server=*/true},
       /*is_new=*/true,
       std::move(file)});
  return absl::OkStatus();
}

// Binds what an entry asks for and did not inherit.
absl::Status BindMissing(const Options& options, AskedEntry* asked) {
  if (asked->entry.kind != ListenEntry::kEndpoint || asked->is_covered) {
    return absl::OkStatus();
  }
  const net::Endpoint& wanted = asked->entry.endpoint;
  if (asked->got.empty()) return Bind(wanted, options, asked);
  const net::Endpoint& got = asked->got.front().socket.endpoint();
  if (!wanted.dual_stack() || got.dual_stack() || asked->got.size() > 1) {
    return absl::OkStatus();
  }
  // A listener for every IPv4 address was inherited, or one for every IPv6
  // address, and the other half is missing.
  const absl::Status other_half =
      Bind(got.is_ipv6() ? wanted.WithPort(got.port()).WithoutIpv6()
                         : wanted.WithPort(got.port()).WithoutIpv4(),
           options, asked);
  // A machine without IPv6 needs no other half.
  return absl::IsUnimplemented(other_half) ? absl::OkStatus() : other_half;
}

}  // namespace

absl::StatusOr<Listeners> OpenListeners(
    const Options& options, std::vector<InheritedListener> inherited,
    EventLog* log) {
  std::vector<OfferedListener> all_offered;
  for (InheritedListener& each : inherited) {
    const int fd = each.socket.fd();
    absl::StatusOr<net::Listener> adopted =
        net::Listener::Adopt(std::move(each.socket));
    if (!adopted.ok()) return adopted.status();
    all_offered.push_back({fd,
                           std::move(each.entry),
                           {{*std::move(adopted), "", each.ends_with_server}}});
  }
  std::vector<AskedEntry> all_asked;
  for (const std::string& text : options.listen) {
    const absl::StatusOr<ListenEntry> entry = ListenEntry::Parse(text);
    if (!entry.ok()) return entry.status();
    all_asked.push_back({&text, *entry, {}});
  }

  absl::Status given = MatchListeners(&all_asked, &all_offered, log);
  if (!given.ok()) return given;
  // Before anything is bound: a new socket could get a number that an entry
  // names.
  absl::Status adopted = AdoptByNumber(all_asked, all_offered);
  if (!adopted.ok()) return adopted;
  for (const AskedEntry& asked : all_asked) {
    for (const OpenedListener& got : asked.got) {
      absl::Status kept = options.CheckDeadlinesOn(got.socket.endpoint());
      if (!kept.ok()) return kept;
    }
  }
  FindFiles(all_asked, log);

  const ListenerSettings settings(options);
  for (AskedEntry& asked : all_asked) {
    absl::Status bound = BindMissing(options, &asked);
    if (!bound.ok()) return bound;
  }
  for (AskedEntry& asked : all_asked) {
    for (OpenedListener& got : asked.got) {
      absl::Status set = ApplyPeerTimeout(settings, got.socket);
      if (!set.ok()) return set;
    }
  }
  // The last step, because other programs have these listeners too: a start
  // that fails must change nothing for them.
  Listeners opened;
  for (AskedEntry& asked : all_asked) {
    for (OpenedListener& got : asked.got) {
      got.entry = *asked.text;
      if (!got.is_new) {
        ConfigureListener(settings, got.entry, got.ends_with_server, got.socket,
                          log);
      }
      opened.push_back(std::move(got));
    }
  }
  return opened;
}

}  // namespace brood::server

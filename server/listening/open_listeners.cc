// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/open_listeners.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"
#include "brood/server/text/listen_entry.h"

namespace brood::server {
namespace {

// A descriptor that was inherited, until an entry means it.
struct Offered {
  int fd;  // the number under which it came
  std::string served;
  OpenedListener opened;
  bool taken = false;
};

// An entry of Options::listen, and what it got: one, but for "inherited".
struct Asked {
  const std::string* text;
  ListenEntry entry;
  std::vector<OpenedListener> got;
};

using Means = bool (*)(const Asked&, const Offered&);

void Give(Offered& offered, Asked& asked) {
  offered.taken = true;
  asked.got.push_back(std::move(offered.opened));
}

// Gives each entry that has nothing yet the first one that it means.
void GiveOne(std::vector<Asked>& all_asked, std::vector<Offered>& all_offered,
             Means means) {
  for (Asked& asked : all_asked) {
    if (!asked.got.empty()) continue;
    const auto found = std::find_if(
        all_offered.begin(), all_offered.end(), [&](const Offered& offered) {
          return !offered.taken && means(asked, offered);
        });
    if (found != all_offered.end()) Give(*found, asked);
  }
}

bool HasServed(const Asked& asked, const Offered& offered) {
  return asked.entry.kind != ListenEntry::kInherited &&
         offered.served == *asked.text;
}

bool HasNumber(const Asked& asked, const Offered& offered) {
  return asked.entry.kind == ListenEntry::kDescriptor &&
         offered.served.empty() && offered.fd == asked.entry.fd;
}

bool HasAddress(const Asked& asked, const Offered& offered) {
  return asked.entry.kind == ListenEntry::kEndpoint &&
         offered.opened.socket.endpoint() == asked.entry.endpoint;
}

bool HasHost(const Asked& asked, const Offered& offered) {
  const net::Endpoint& wanted = asked.entry.endpoint;
  return asked.entry.kind == ListenEntry::kEndpoint && !wanted.is_unix() &&
         wanted.port() == 0 &&
         offered.opened.socket.endpoint().WithPort(0) == wanted;
}

// What no other entry means is for the entry "inherited", or for nobody.
absl::Status GiveTheRest(std::vector<Asked>& all_asked,
                         std::vector<Offered>& all_offered, EventLog* log) {
  const auto rest =
      std::find_if(all_asked.begin(), all_asked.end(), [](const Asked& asked) {
        return asked.entry.kind == ListenEntry::kInherited;
      });
  if (rest != all_asked.end() && all_offered.empty()) {
    return absl::FailedPreconditionError(
        "listen=inherited: no listening descriptor was inherited");
  }
  for (Offered& offered : all_offered) {
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

// The descriptors that are asked for by their numbers and were not inherited.
absl::Status AdoptByNumber(std::vector<Asked>& all_asked,
                           const std::vector<Offered>& all_offered) {
  // Those of the inherited ones have owners, as has one that was adopted here.
  std::vector<int> owned;
  for (const Offered& offered : all_offered) owned.push_back(offered.fd);
  for (Asked& asked : all_asked) {
    const int fd = asked.entry.fd;
    if (asked.entry.kind != ListenEntry::kDescriptor || !asked.got.empty()) {
      continue;
    }
    if (std::find(owned.begin(), owned.end(), fd) != owned.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "listen=", *asked.text, ": this descriptor serves another entry"));
    }
    // One that is something else stays with whoever it belongs to.
    absl::Status listens = net::CheckListening(fd);
    if (!listens.ok()) return listens;
    absl::StatusOr<net::Listener> adopted =
        net::Listener::Adopt(net::Socket::Adopt(fd));
    if (!adopted.ok()) return adopted.status();
    owned.push_back(fd);
    asked.got.push_back({*std::move(adopted), *asked.text});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Listeners> OpenListeners(
    const Options& options, std::vector<InheritedListener> inherited,
    EventLog* log) {
  std::vector<Offered> all_offered;
  for (InheritedListener& each : inherited) {
    const int fd = each.socket.fd();
    absl::StatusOr<net::Listener> adopted =
        net::Listener::Adopt(std::move(each.socket));
    if (!adopted.ok()) return adopted.status();
    all_offered.push_back({fd,
                           std::move(each.entry),
                           {*std::move(adopted), "", each.ends_with_server}});
  }
  std::vector<Asked> all_asked;
  for (const std::string& text : options.listen) {
    const absl::StatusOr<ListenEntry> entry = ListenEntry::Parse(text);
    if (!entry.ok()) return entry.status();
    all_asked.push_back({&text, *entry, {}});
  }

  for (const Means means : {HasServed, HasNumber, HasAddress, HasHost}) {
    GiveOne(all_asked, all_offered, means);
  }
  absl::Status given = GiveTheRest(all_asked, all_offered, log);
  if (!given.ok()) return given;
  // Before anything is bound, which could get such a number.
  absl::Status adopted = AdoptByNumber(all_asked, all_offered);
  if (!adopted.ok()) return adopted;

  Listeners opened;
  for (Asked& asked : all_asked) {
    for (const OpenedListener& got : asked.got) {
      absl::Status kept = options.CheckDeadlinesOn(got.socket.endpoint());
      if (!kept.ok()) return kept;
    }
  }
  for (Asked& asked : all_asked) {
    if (asked.entry.kind == ListenEntry::kEndpoint && asked.got.empty()) {
      absl::StatusOr<net::Listener> listener =
          net::Listener::Listen(asked.entry.endpoint, options.backlog,
                                static_cast<mode_t>(options.unix_mode));
      if (!listener.ok()) return listener.status();
      asked.got.push_back(
          {*std::move(listener), *asked.text, /*ends_with_server=*/true});
    }
    for (OpenedListener& got : asked.got) {
      if (options.deadlines.peer != absl::ZeroDuration()) {
        absl::Status set = got.socket.SetPeerTimeout(options.deadlines.peer);
        if (!set.ok()) return set;
      }
      got.entry = *asked.text;
      opened.push_back(std::move(got));
    }
  }
  return opened;
}

}  // namespace brood::server

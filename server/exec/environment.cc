// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/environment.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace brood::server {
namespace {

// The variables of this process that each program gets.
constexpr absl::string_view kKept[] = {"PATH", "HOME", "LANG", "TZ"};
constexpr absl::string_view kKeptPrefix = "LC_";

// Every name that describes a connection. Among them are the names by which
// tcpserver reports what a name server or the machine of the client has
// answered: Brood asks neither, and a value of this process would be about
// another connection.
constexpr absl::string_view kOfConnection[] = {
    "PROTO",          "TCPLOCALIP",    "TCPLOCALPORT",   "TCPREMOTEIP",
    "TCPREMOTEPORT",  "TCPREMOTEHOST", "TCPREMOTEINFO",  "REMOTE_ADDR",
    "REMOTE_PORT",    "REMOTE_HOST",   "IPCLOCALPATH",   "IPCREMOTEEUID",
    "IPCREMOTEEGID",  "IPCREMOTEPATH", "LISTEN_FDS",     "LISTEN_PID",
    "LISTEN_FDNAMES", "TCPCONNNUM",    "TCPCONCURRENCY", "IPCCONNNUM",
};

absl::string_view NameOf(absl::string_view variable) {
  return variable.substr(0, variable.find('='));
}

bool IsName(absl::string_view name) {
  return !name.empty() && !absl::ascii_isdigit(name.front()) &&
         absl::c_all_of(name, [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_';
         });
}

absl::Status Refused(absl::string_view variable, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("environment=", absl::CHexEscape(variable), ": ", why));
}

bool IsKept(absl::string_view variable) {
  const absl::string_view name = NameOf(variable);
  return name.size() < variable.size() &&
         (absl::c_linear_search(kKept, name) ||
          (absl::StartsWith(name, kKeptPrefix) && IsName(name)));
}

// Returns the entry "NAME=VALUE" of `environment`, or nothing.
absl::optional<absl::string_view> Find(const char* const* environment,
                                       absl::string_view name) {
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const absl::string_view variable = *environment;
    if (NameOf(variable) == name && name.size() < variable.size()) {
      return variable;
    }
  }
  return absl::nullopt;
}

void Set(absl::string_view variable, std::vector<std::string>* variables) {
  variables->erase(
      std::remove_if(variables->begin(), variables->end(),
                     [name = NameOf(variable)](const std::string& other) {
                       return NameOf(other) == name;
                     }),
      variables->end());
  variables->emplace_back(variable);
}

// Host is the text of an address alone: "192.0.2.7", "2001:db8::1".
class Host {
 public:
  explicit Host(const net::PeerAddress& address) {
    inet_ntop(address.family(), address.host().data(), text_, sizeof(text_));
  }
  absl::string_view text() const { return text_; }

 private:
  char text_[INET6_ADDRSTRLEN] = "";
};

void AddTcp(const ConnectionFacts& facts, Variables* variables) {
  const net::PeerAddress local = facts.local.ToAddress();
  const Host remote_host(facts.peer);
  variables->Add("PROTO", "TCP");
  variables->Add("TCPLOCALIP", Host(local).text());
  variables->Add("TCPLOCALPORT", local.port());
  variables->Add("TCPREMOTEIP", remote_host.text());
  variables->Add("TCPREMOTEPORT", facts.peer.port());
  // s6-tcpserver counts the connections before this one, tcpsvd this one too.
  variables->Add("TCPCONNNUM", facts.connections_of_host - 1);
  variables->Add("TCPCONCURRENCY", facts.connections_of_host);
  variables->Add("REMOTE_ADDR", remote_host.text());
  variables->Add("REMOTE_PORT", facts.peer.port());
}

// Adds the variables of a unix socket. The name that the client has bound is
// not among them: its bytes would come from the client.
void AddUnix(const ConnectionFacts& facts, Variables* variables) {
  variables->Add("PROTO", "IPC");
  const std::string local = facts.local.ToString();
  variables->Add("IPCLOCALPATH", absl::StripPrefix(local, "unix:"));
  if (!facts.credentials) return;
  variables->Add("IPCREMOTEEUID", facts.credentials->uid);
  variables->Add("IPCREMOTEEGID", facts.credentials->gid);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> LastingVariables(
    const char* const* inherited, absl::Span<const std::string> added) {
  std::vector<std::string> variables;
  for (const char* const* each = inherited; each != nullptr && *each != nullptr;
       ++each) {
    // Of two variables with one name, getenv() of a program finds the first
    // one.
    if (IsKept(*each) && Find(inherited, NameOf(*each)) == *each) {
      Set(*each, &variables);
    }
  }
  for (const std::string& variable : added) {
    const absl::string_view name = NameOf(variable);
    if (!IsName(name)) {
      return Refused(variable,
                     "must be NAME or NAME=VALUE, with a name of letters, "
                     "digits and underscores");
    }
    if (absl::StrContains(variable, '\0')) {
      return Refused(variable, "must not contain a NUL");
    }
    if (absl::c_linear_search(kOfConnection, name)) {
      return Refused(variable, "is set for each connection");
    }
    if (name.size() < variable.size()) {
      Set(variable, &variables);
    } else if (const auto found = Find(inherited, name)) {
      Set(*found, &variables);
    } else {
      return Refused(variable,
                     "is not set in the environment of the server; write "
                     "NAME=VALUE");
    }
  }
  return variables;
}

void AddConnectionVariables(const ConnectionFacts& facts,
                            Variables* variables) {
  if (facts.peer.is_unix()) {
    AddUnix(facts, variables);
  } else {
    AddTcp(facts, variables);
  }
}

// Other programs than those for xinetd, such as CGI programs, expect the name
// of a host in this variable.
void AddInetdVariables(const ConnectionFacts& facts, Variables* variables) {
  if (facts.peer.is_unix()) return;
  variables->Add("REMOTE_HOST", Host(facts.peer).text());
}

void AddSystemdVariables(pid_t pid, Variables* variables) {
  variables->Add("LISTEN_FDS", 1);
  variables->Add("LISTEN_PID", pid);
  variables->Add("LISTEN_FDNAMES", "connection");
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

// The events of EventLog about the listeners of a server.

#include "brood/server/log/event_log.h"

namespace brood::server {

void EventLog::Listening(const net::Endpoint& endpoint) {
  Log(Event(LogLevel::kInfo, "listening", "listening on {}")
          .AddListener(endpoint));
}

void EventLog::InheritedListenerUnused(int fd, const net::Endpoint& endpoint) {
  Log(Event(
          LogLevel::kWarning, "inherited-listener-unused",
          "inherited descriptor {} is closed: it listens on {}, which no entry "
          "of listen= names")
          .Add("brood.fd", fd)
          .AddListener(endpoint));
}

void EventLog::InheritedListenerWider(const net::Endpoint& endpoint,
                                      absl::string_view entry, LogLevel level) {
  Log(Event(level, "inherited-listener-wider",
            "the inherited listener on {} serves listen={}, and accepts more "
            "connections than that names")
          .AddListener(endpoint)
          .Add("brood.entry", entry));
}

void EventLog::ListenerUnreachable(const net::Endpoint& endpoint,
                                   absl::string_view why) {
  Log(Event(LogLevel::kWarning, "listener-unreachable",
            "clients do not find the inherited listener on {}: {}")
          .AddListener(endpoint)
          .Add("error.message", why));
}

void EventLog::ListenerRebound(const net::Endpoint& endpoint,
                               absl::string_view why) {
  Log(Event(LogLevel::kWarning, "listener-rebound",
            "{} is bound again, because clients do not find the inherited "
            "listener: {}")
          .AddListener(endpoint)
          .Add("error.message", why));
}

void EventLog::OptionNotApplied(absl::string_view option,
                                const net::Endpoint& endpoint,
                                absl::string_view why) {
  Log(Event(LogLevel::kWarning, "option-not-applied",
            "{} is not applied to the inherited listener on {}: {}")
          .Add("brood.option", option)
          .AddListener(endpoint)
          .Add("error.message", why));
}

void EventLog::ListenFdsIgnored(absl::string_view why) {
  Log(Event(LogLevel::kWarning, "listen-fds-ignored",
            "no listener is taken from a service manager: {}")
          .Add("error.message", why));
}

void EventLog::PeerTimeoutLeftToKernel(const net::Endpoint& listener,
                                       const absl::Status& why) {
  Log(Event(LogLevel::kWarning, "peer-timeout-left-to-kernel",
            "on {} the kernel alone enforces the peer timeout, because it "
            "cannot be asked about the connections: {}")
          .AddListener(listener)
          .Add("error.message", why.message()));
}

void EventLog::NoDeadline(const net::Endpoint& listener) {
  Log(Event(LogLevel::kWarning, "no-deadline",
            "{} is open to other machines and no deadline ends a connection: "
            "silent clients can take every slot; set a timeout for the first "
            "byte, for idle connections or for the connection")
          .AddListener(listener));
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/net/listener.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/net/unix_file/unix_diag.h"
#include "brood/net/unix_listener.h"

namespace brood::net {
namespace {

absl::Status ErrorAt(const char* call, const Endpoint& endpoint) {
  const int error = errno;
  return absl::ErrnoToStatus(error,
                             absl::StrCat(call, " ", endpoint.ToString()));
}

// Returns the address of this end of `fd`; nothing, with errno, if the kernel
// does not report it.
absl::optional<PeerAddress> LocalAddress(int fd) {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) {
    return absl::nullopt;
  }
  return PeerAddress::FromSockaddr(address);
}

// Turns off Nagle's algorithm, for the connections too, which inherit the
// option. Otherwise a reply in two pieces would wait for the client's delayed
// acknowledgement (40 ms).
bool SendAtOnce(int fd) {
  const int on = 1;
  return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0;
}

// Makes the kernel probe a silent peer: after two hours, or the time that
// SetPeerTimeout() sets. Connections inherit the option. Otherwise a client
// that has lost its power would keep its child without a limit.
bool KeepAlive(int fd) {
  const int on = 1;
  return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0;
}

// Returns the value of an option of SOL_SOCKET; -1, with errno, if `fd` has
// none.
int OptionOf(int fd, int option) {
  int value = 0;
  socklen_t length = sizeof(value);
  if (getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0) return -1;
  return value;
}

// Returns the endpoint of a listening socket that was created elsewhere, in the
// form of Endpoint::Parse().
absl::StatusOr<Endpoint> EndpointOfListening(int fd) {
  union {
    sockaddr any;
    sockaddr_storage storage;
    sockaddr_un unix_socket;
  } address = {};
  socklen_t length = sizeof(address);
  if (getsockname(fd, &address.any, &length) < 0) {
    return absl::ErrnoToStatus(errno, "getsockname");
  }
  if (address.any.sa_family == AF_UNIX) {
    return Endpoint::FromUnix(address.unix_socket, length);
  }
  const Endpoint endpoint = Endpoint::FromSockaddr(address.storage);
  int ipv6_only = 1;
  length = sizeof(ipv6_only);
  if (endpoint.is_ipv6() &&
      getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, &length) == 0 &&
      ipv6_only == 0) {
    return endpoint.WithIpv4();
  }
  return endpoint;
}

// How long a client takes for the last step of its TCP handshake, if it is at
// most half way around the world.
constexpr absl::Duration kLongestRoundTrip = absl::Milliseconds(200);
// The same for a client on this machine.
constexpr absl::Duration kLocalRoundTrip = absl::Milliseconds(10);

}  // namespace

absl::Span<const AcceptError> AcceptErrors() {
  static constexpr AcceptError kErrors[] = {
      // The queue is empty. EWOULDBLOCK is the same number.
      {EAGAIN, AcceptVerdict::kNoneWaiting},

      // A failure of one client, or of the network: accept(2) returns the
      // errors of the new socket.
      {ECONNABORTED, AcceptVerdict::kTryNext},
      {ECONNRESET, AcceptVerdict::kTryNext},
      {EHOSTDOWN, AcceptVerdict::kTryNext},
      {EHOSTUNREACH, AcceptVerdict::kTryNext},
      {EINTR, AcceptVerdict::kTryNext},
      {ENETDOWN, AcceptVerdict::kTryNext},
      {ENETUNREACH, AcceptVerdict::kTryNext},
      {ENONET, AcceptVerdict::kTryNext},
      {ENOPROTOOPT, AcceptVerdict::kTryNext},
      {EOPNOTSUPP, AcceptVerdict::kTryNext},
      {EPROTO, AcceptVerdict::kTryNext},
      {EPROTONOSUPPORT, AcceptVerdict::kTryNext},
      {ESOCKTNOSUPPORT, AcceptVerdict::kTryNext},
      {ETIMEDOUT, AcceptVerdict::kTryNext},
      // A rule of a firewall about one client, or a policy about this listener.
      {EACCES, AcceptVerdict::kTryNext},
      {EPERM, AcceptVerdict::kTryNext},

      // This process or machine has run out of a resource.
      {EMFILE, AcceptVerdict::kPause},
      {ENFILE, AcceptVerdict::kPause},
      {ENOBUFS, AcceptVerdict::kPause},
      {ENOMEM, AcceptVerdict::kPause},
      {ENOSR, AcceptVerdict::kPause},
      // A policy about the call, which may be lifted.
      {ENOSYS, AcceptVerdict::kPause},

      // The descriptor is not a listener, or no longer one.
      {EBADF, AcceptVerdict::kDead},
      {EFAULT, AcceptVerdict::kDead},
      {EINVAL, AcceptVerdict::kDead},
      {ENOTSOCK, AcceptVerdict::kDead},
  };
  return kErrors;
}

AcceptVerdict SortAcceptError(int error) {
  for (const AcceptError& known : AcceptErrors()) {
    if (known.error == error) return known.verdict;
  }
  // A pause is the only reaction to an unknown error that neither loops without
  // waiting nor gives up.
  return AcceptVerdict::kPause;
}

absl::StatusOr<Listener> Listener::Listen(const Endpoint& endpoint, int backlog,
                                          mode_t unix_mode) {
  // The kernel binds a mapped address only to a socket that accepts IPv4 as
  // well.
  const Endpoint unmapped = endpoint.Unmapped();
  if (unmapped != endpoint) return Listen(unmapped, backlog);
  Socket socket =
      Socket::Adopt(::socket(endpoint.address()->sa_family,
                             SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) {
    if (errno == EAFNOSUPPORT && endpoint.dual_stack()) {
      return Listen(endpoint.WithoutIpv6(), backlog);
    }
    return ErrorAt("socket", endpoint);
  }
  // The kernel reduces a longer backlog to net.core.somaxconn.
  if (backlog == kFullBacklog) backlog = INT_MAX;
  if (endpoint.is_unix()) {
    absl::Status listening = ListenOnUnix(socket, endpoint, unix_mode, backlog);
    if (!listening.ok()) return listening;
    return Listener(std::move(socket), endpoint);
  }
  const int on = 1;
  if (setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) {
    return ErrorAt("setsockopt SO_REUSEADDR", endpoint);
  }
  if (!SendAtOnce(socket.fd())) {
    return ErrorAt("setsockopt TCP_NODELAY", endpoint);
  }
  if (!KeepAlive(socket.fd())) {
    return ErrorAt("setsockopt SO_KEEPALIVE", endpoint);
  }
  if (endpoint.is_ipv6()) {
    // Set in either case, because machines differ in their default.
    const int ipv6_only = endpoint.dual_stack() ? 0 : 1;
    if (setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only,
                   sizeof(ipv6_only)) < 0) {
      return ErrorAt("setsockopt IPV6_V6ONLY", endpoint);
    }
  }
  if (bind(socket.fd(), endpoint.address(), endpoint.address_length()) < 0) {
    return ErrorAt("bind", endpoint);
  }
  if (listen(socket.fd(), backlog) < 0) return ErrorAt("listen", endpoint);
  // The port may be the kernel's choice, and must be known for endpoint().
  const absl::optional<PeerAddress> bound = LocalAddress(socket.fd());
  if (!bound) return ErrorAt("getsockname", endpoint);
  return Listener(std::move(socket), endpoint.WithPort(bound->port()));
}

absl::Status CheckListening(int fd) {
  const std::string name = absl::StrCat("fd:", fd);
  const int type = OptionOf(fd, SO_TYPE);
  const int listens = type < 0 ? -1 : OptionOf(fd, SO_ACCEPTCONN);
  const int family = listens < 0 ? -1 : OptionOf(fd, SO_DOMAIN);
  if (family < 0 && errno != ENOTSOCK) {
    return absl::ErrnoToStatus(errno, absl::StrCat(name, ": getsockopt"));
  }
  if (type != SOCK_STREAM || listens != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is not a listening stream socket"));
  }
  if (family == AF_INET || family == AF_INET6 || family == AF_UNIX) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is a socket of address family ", family,
                   ", and not of AF_INET, AF_INET6 or AF_UNIX"));
}

absl::StatusOr<Listener> Listener::Adopt(Socket socket) {
  absl::Status listens = CheckListening(socket.fd());
  if (!listens.ok()) return listens;
  const std::string name = absl::StrCat("fd:", socket.fd());
  const auto error_at = [&name](const char* call) {
    const int error = errno;
    return absl::ErrnoToStatus(error, absl::StrCat(name, ": ", call));
  };
  socket = Socket::AboveStandardDescriptors(std::move(socket));
  if (!socket.valid()) return error_at("fcntl F_DUPFD_CLOEXEC");
  const int flags = fcntl(socket.fd(), F_GETFL);
  if (flags < 0 || fcntl(socket.fd(), F_SETFL, flags | O_NONBLOCK) < 0 ||
      fcntl(socket.fd(), F_SETFD, FD_CLOEXEC) < 0) {
    return error_at("fcntl");
  }
  const absl::StatusOr<Endpoint> endpoint = EndpointOfListening(socket.fd());
  if (!endpoint.ok()) {
    return absl::Status(endpoint.status().code(),
                        absl::StrCat(name, ": ", endpoint.status().message()));
  }
  if (!endpoint->is_unix() && !SendAtOnce(socket.fd())) {
    return error_at("setsockopt TCP_NODELAY");
  }
  if (!endpoint->is_unix() && !KeepAlive(socket.fd())) {
    return error_at("setsockopt SO_KEEPALIVE");
  }
  return Listener(std::move(socket), *endpoint);
}

Listener::Listener(Socket socket, const Endpoint& endpoint)
    : socket_(std::move(socket)),
      endpoint_(endpoint),
      address_(endpoint.ToAddress()),
      any_address_(endpoint.is_any()) {}

absl::Status Listener::SetBacklog(int backlog) const {
  if (listen(fd(), backlog == kFullBacklog ? INT_MAX : backlog) < 0) {
    return ErrorAt("listen", endpoint_);
  }
  return absl::OkStatus();
}

absl::optional<int> Listener::backlog() const {
  if (endpoint_.is_unix()) {
    const absl::optional<UnixSocketState> state = AskAboutUnixSocket(fd());
    if (!state) return absl::nullopt;
    return state->backlog;
  }
  tcp_info info = {};
  socklen_t length = sizeof(info);
  if (getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &info, &length) < 0) {
    return absl::nullopt;
  }
  return static_cast<int>(info.tcpi_sacked);  // of a listener: its backlog
}

absl::Status Listener::SetPeerTimeout(absl::Duration timeout) const {
  if (endpoint_.is_unix()) return absl::OkStatus();
  // The kernel probes a peer that was silent for a third of `timeout`; the peer
  // is gone if it answers none of three probes in the rest of that time.
  const int seconds = KernelSeconds(timeout);
  const int count = 3;
  const int silence = std::max(1, seconds / 3);
  const int interval = std::max(1, (seconds - silence) / count);
  const int milliseconds = seconds * 1000;
  return SetOptions({
      {"setsockopt TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, silence},
      {"setsockopt TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, interval},
      {"setsockopt TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, count},
      {"setsockopt TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT,
       milliseconds},
  });
}

absl::Status Listener::ResetPeerTimeout() const {
  const auto option_of = [](const Socket& socket, int option) {
    int value = 0;
    socklen_t length = sizeof(value);
    return getsockopt(socket.fd(), IPPROTO_TCP, option, &value, &length) < 0
               ? 0
               : value;
  };
  // No other program is known to set TCP_USER_TIMEOUT on a listener.
  if (endpoint_.is_unix() || option_of(socket_, TCP_USER_TIMEOUT) == 0) {
    return absl::OkStatus();
  }
  // There is no option that resets a timeout, so the defaults are read from a
  // new socket.
  const Socket fresh = Socket::Adopt(
      socket(endpoint_.address()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fresh.valid()) return ErrorAt("socket", endpoint_);
  return SetOptions({
      {"setsockopt TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE,
       option_of(fresh, TCP_KEEPIDLE)},
      {"setsockopt TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL,
       option_of(fresh, TCP_KEEPINTVL)},
      {"setsockopt TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT,
       option_of(fresh, TCP_KEEPCNT)},
      {"setsockopt TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 0},
  });
}

absl::Status Listener::SetOptions(
    std::initializer_list<Setting> settings) const {
  for (const Setting& setting : settings) {
    if (setsockopt(fd(), setting.level, setting.option, &setting.value,
                   sizeof(setting.value)) < 0) {
      return ErrorAt(setting.call, endpoint_);
    }
  }
  return absl::OkStatus();
}

Accepted Listener::Accept() const {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  Socket socket = Socket::Adopt(accept4(
      fd(), reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC));
  socket = Socket::AboveStandardDescriptors(std::move(socket));
  if (!socket.valid()) {
    const int error = errno;
    return {SortAcceptError(error), absl::nullopt, error};
  }
  // The peer comes from accept4 itself: getpeername fails if the client reset
  // the connection while it was queued.
  const PeerAddress peer = PeerAddress::FromSockaddr(address);
  const PeerAddress local =
      any_address_ ? LocalAddress(socket.fd()).value_or(address_) : address_;
  return {AcceptVerdict::kAccepted,
          Connection(std::move(socket), peer, local, Now())};
}

// On TCP a shutdown would reset the queue. So a filter drops the segments that
// begin a connection (bit 1 of byte 13 of a TCP header is SYN) and no others:
// the segment that completes a connection must get through.
absl::Duration Listener::RefuseNewcomers() const {
  if (endpoint_.is_unix()) {
    shutdown(fd(), SHUT_RD);
    return absl::ZeroDuration();
  }
  sock_filter drop_syn[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT_MAX),
  };
  const sock_fprog program = {std::size(drop_syn), drop_syn};
  setsockopt(fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
  return endpoint_.is_local() ? kLocalRoundTrip : kLongestRoundTrip;
}

void Listener::EndListening() const { shutdown(fd(), SHUT_RD); }

int Listener::queued() const {
  if (endpoint_.is_unix() && open()) return QueuedOnUnix(fd());
  tcp_info info;
  std::memset(&info, 0, sizeof(info));
  socklen_t length = sizeof(info);
  if (getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return 0;
  return static_cast<int>(info.tcpi_unacked);  // of a listener: its queue
}

}  // namespace brood::net

// Endpoint: one end of a connection: an address and a port, or a unix socket.
//
// A value: copied, compared, printed, of 32 bytes whatever it names. It never
// asks a resolver, so it is safe in a static binary and in either process
// (parent or child).
//
// What Parse() takes, and ToString() gives back:
//
//   127.0.0.1:7000       IPv4, four decimal numbers
//   [::1]:7000           IPv6 in brackets, without a zone
//   :7000                every address of this machine, IPv6 and IPv4 alike
//   localhost:7000       a spelling of 127.0.0.1:7000, and printed as that
//   unix:/run/x.sock     a unix socket, by its absolute path
//   unix:@x              one without a file ("abstract": anybody may connect)
//
// Port 0 stands for "a free port of the kernel's choice". The parser is strict
// because addresses decide who gets in: no octal, hexadecimal or short forms
// (0177.1, 127.1), no host names, no blanks; of a path at most 107 bytes,
// without blanks, control characters and commas.
//
// A client on a unix socket has no address: its endpoint is printed as "unix:",
// which Parse() does not take.
//
// Names of unix sockets are kept for the life of the program, once each, so
// that an endpoint need not carry one: it is copied for each connection, and
// lies in each slot of the scoreboard. So parse what a configuration says, not
// what a client says; there is an error if there are more than a thousand.
//
// Errors: InvalidArgument, quoting the text and saying what is allowed;
// ResourceExhausted when there are too many names of unix sockets.
//
// Example:
//   absl::StatusOr<Endpoint> endpoint = Endpoint::Parse("[::1]:7000");
//   if (!endpoint.ok()) return endpoint.status();
//   bind(fd, endpoint->address(), endpoint->address_length());

#ifndef BROOD_NET_ENDPOINT_H_
#define BROOD_NET_ENDPOINT_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/peer_address.h"

namespace brood::net {

class Endpoint {
 public:
  // Room for the longest endpoint in text, with its final NUL.
  static constexpr int kTextSize =
      sizeof("unix:") + sizeof(sockaddr_un::sun_path);

  // The unspecified IPv4 address with port 0.
  Endpoint();

  static absl::StatusOr<Endpoint> Parse(absl::string_view text);

  // Copies what the kernel wrote. An IPv4 peer of a dual-stack listener arrives
  // as ::ffff:a.b.c.d and becomes a.b.c.d, so that one client has one name.
  // A unix one is that of a client, without a name, even if it has given itself
  // one. Any other family gives the default endpoint.
  static Endpoint FromSockaddr(const sockaddr_storage& address);
  // Returns the endpoint with this address and port; for an end of a unix
  // connection one without a name.
  static Endpoint FromAddress(const PeerAddress& address);
  // The one at which a unix socket listens, as getsockname() tells.
  static absl::StatusOr<Endpoint> FromUnix(const sockaddr_un& address,
                                           socklen_t length);

  // 0 for a unix socket, which stays as it is.
  uint16_t port() const;
  Endpoint WithPort(uint16_t port) const;

  bool is_ipv6() const { return address_.any.sa_family == AF_INET6; }
  bool is_unix() const { return address_.any.sa_family == AF_UNIX; }
  // The path of a unix socket's file; empty if there is none.
  absl::string_view path() const;
  // True for ":PORT" alone: an IPv6 endpoint that takes IPv4 peers as well.
  bool dual_stack() const { return dual_stack_; }
  // This endpoint for a machine without IPv6: ":PORT" becomes "0.0.0.0:PORT".
  Endpoint WithoutIpv6() const;
  // This endpoint if it takes IPv4 peers as well: "[::]:PORT" becomes ":PORT".
  Endpoint WithIpv4() const;

  // As bind() and connect() want it.
  const sockaddr* address() const;
  socklen_t address_length() const;

  // Returns the address and the port; the name of a unix socket is dropped.
  PeerAddress ToAddress() const;

  std::string ToString() const;
  // The same into `text`, without an allocation; the view ends before the NUL.
  absl::string_view Print(char (&text)[kTextSize]) const;

  friend bool operator==(const Endpoint& a, const Endpoint& b);
  friend bool operator!=(const Endpoint& a, const Endpoint& b) {
    return !(a == b);
  }
  // Compares an endpoint with the address of one end of a connection. A unix
  // endpoint that has a name is no such address.
  friend bool operator==(const Endpoint& a, const PeerAddress& b) {
    return a == FromAddress(b);
  }
  friend bool operator==(const PeerAddress& a, const Endpoint& b) {
    return b == a;
  }
  friend bool operator!=(const Endpoint& a, const PeerAddress& b) {
    return !(a == b);
  }
  friend bool operator!=(const PeerAddress& a, const Endpoint& b) {
    return !(b == a);
  }

 private:
  static Endpoint Ipv4(const in_addr& host, uint16_t port);
  static Endpoint Ipv6(const in6_addr& host, uint16_t port, bool dual_stack);
  static absl::StatusOr<Endpoint> Unix(absl::string_view name);

  // Where the name of a unix socket is: 0 if it has none. So two of one name
  // are the same bytes.
  struct UnixPlace {
    sa_family_t family;
    uint16_t place;
  };

  // Not sockaddr_storage: a scoreboard holds one endpoint for every live child.
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
    UnixPlace unix_place;
  } address_;
  bool dual_stack_ = false;
};

}  // namespace brood::net

#endif  // BROOD_NET_ENDPOINT_H_

// Endpoint: the address and port of one end of a TCP connection.
//
// A value: copied, compared, printed. It never asks a resolver, so it is safe
// in a static binary and in either process (parent or child).
//
// What Parse() takes, and ToString() gives back:
//
//   127.0.0.1:7000       IPv4, four decimal numbers
//   [::1]:7000           IPv6 in brackets, without a zone
//   :7000                every address of this machine, IPv6 and IPv4 alike
//   localhost:7000       a spelling of 127.0.0.1:7000, and printed as that
//
// Port 0 stands for "a free port of the kernel's choice". The parser is strict
// because addresses decide who gets in: no octal, hexadecimal or short forms
// (0177.1, 127.1), no host names, no blanks.
//
// Errors: InvalidArgument, quoting the text and saying what is allowed.
//
// Example:
//   absl::StatusOr<Endpoint> endpoint = Endpoint::Parse("[::1]:7000");
//   if (!endpoint.ok()) return endpoint.status();
//   bind(fd, endpoint->address(), endpoint->address_length());

#ifndef BROOD_NET_ENDPOINT_H_
#define BROOD_NET_ENDPOINT_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::net {

class Endpoint {
 public:
  // Room for the longest endpoint in text, with its final NUL.
  static constexpr int kTextSize = INET6_ADDRSTRLEN + sizeof("[]:65535");

  // The unspecified IPv4 address with port 0.
  Endpoint();

  static absl::StatusOr<Endpoint> Parse(absl::string_view text);

  // Copies what the kernel wrote. An IPv4 peer of a dual-stack listener arrives
  // as ::ffff:a.b.c.d and becomes a.b.c.d, so that one client has one name.
  // Any family but IPv4 and IPv6 gives the default endpoint.
  static Endpoint FromSockaddr(const sockaddr_storage& address);

  uint16_t port() const;
  Endpoint WithPort(uint16_t port) const;

  bool is_ipv6() const { return address_.any.sa_family == AF_INET6; }
  // True for ":PORT" alone: an IPv6 endpoint that takes IPv4 peers as well.
  bool dual_stack() const { return dual_stack_; }
  // This endpoint for a machine without IPv6: ":PORT" becomes "0.0.0.0:PORT".
  Endpoint WithoutIpv6() const;

  const sockaddr* address() const { return &address_.any; }
  socklen_t address_length() const;

  std::string ToString() const;
  // The same into `text`, without an allocation; the view ends before the NUL.
  absl::string_view Print(char (&text)[kTextSize]) const;

  friend bool operator==(const Endpoint& a, const Endpoint& b);
  friend bool operator!=(const Endpoint& a, const Endpoint& b) {
    return !(a == b);
  }

 private:
  static Endpoint Ipv4(const in_addr& host, uint16_t port);
  static Endpoint Ipv6(const in6_addr& host, uint16_t port, bool dual_stack);

  // Not sockaddr_storage: a scoreboard holds one endpoint for every live child.
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
  } address_;
  bool dual_stack_ = false;
};

}  // namespace brood::net

#endif  // BROOD_NET_ENDPOINT_H_

// SPDX-License-Identifier: Apache-2.0

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

// Endpoint: where a server listens: an address and a port, or a unix socket.
//
//   127.0.0.1:7000       IPv4, four decimal numbers
//   [::1]:7000           IPv6 in brackets, without a zone
//   :7000                every address of this machine, IPv6 and IPv4 alike
//   localhost:7000       another spelling of 127.0.0.1:7000
//   unix:/run/x.sock     a unix socket, by its absolute path
//   unix:@x              a unix socket without a file ("abstract": any process
//                        of the network namespace may connect)
//
// A plain value: copied, compared and printed without allocation. Port 0 means
// a free port of the kernel's choice. It works in the parent and in a child,
// and never asks a resolver.
//
// Errors: InvalidArgument, quoting the text and naming what is allowed.
//
// Example:
//   absl::StatusOr<Endpoint> endpoint = Endpoint::Parse("[::1]:7000");
//   if (!endpoint.ok()) return endpoint.status();
//   bind(fd, endpoint->address(), endpoint->address_length());
class Endpoint {
 public:
  // The size of the longest text, with its final NUL: each byte of the name of
  // a unix socket may be printed as four.
  static constexpr int kTextSize =
      sizeof("unix:") + 4 * sizeof(sockaddr_un::sun_path);

  // Makes the unspecified IPv4 address with port 0.
  Endpoint();

  // Returns the endpoint that `text` names. Strict, because addresses decide
  // which clients can connect: no octal, hexadecimal or short forms (0177.1,
  // 127.1), no host names, no blanks; a path has at most 107 bytes, without
  // blanks, control characters and commas.
  static absl::StatusOr<Endpoint> Parse(absl::string_view text);

  // Returns the endpoint with the internet address that the kernel wrote.
  // ::ffff:a.b.c.d becomes a.b.c.d. A unix address becomes an endpoint without
  // a name, and any other family the default endpoint.
  static Endpoint FromSockaddr(const sockaddr_storage& address);
  // Returns the endpoint with this address and port. An end of a unix
  // connection becomes an endpoint without a name, which is printed as "unix:"
  // and not accepted by Parse().
  static Endpoint FromAddress(const PeerAddress& address);
  // Returns the endpoint of a unix socket whose name getsockname() returned;
  // InvalidArgument if it has none. The name may be one that Parse() does not
  // accept: a relative path, or one that is not printable.
  static absl::StatusOr<Endpoint> FromUnix(const sockaddr_un& address,
                                           socklen_t length);

  // Returns the port; 0 for a unix socket.
  uint16_t port() const;
  // Returns this endpoint with another port; a unix socket is returned
  // unchanged.
  Endpoint WithPort(uint16_t port) const;

  // Reports whether this is an IPv6 address, or every address of the machine.
  bool is_ipv6() const { return address_.any.sa_family == AF_INET6; }
  // Reports whether this is a unix socket.
  bool is_unix() const { return address_.any.sa_family == AF_UNIX; }
  // Returns the path of a unix socket's file, empty if there is none. The path
  // of a socket that another program has bound may be relative to a directory
  // of that program. Valid for as long as this object.
  absl::string_view path() const;
  // Reports whether this is ":PORT", an IPv6 endpoint that accepts IPv4 clients
  // as well.
  bool dual_stack() const { return dual_stack_; }
  // Returns this endpoint for a machine without IPv6: ":PORT" becomes
  // "0.0.0.0:PORT".
  Endpoint WithoutIpv6() const;
  // Returns the part of this endpoint that is IPv6: ":PORT" becomes
  // "[::]:PORT".
  Endpoint WithoutIpv4() const;
  // Returns this endpoint if it accepts IPv4 clients as well: "[::]:PORT"
  // becomes ":PORT".
  Endpoint WithIpv4() const;

  // Reports whether this is every address of the machine, or every IPv4 or IPv6
  // address.
  bool is_any() const;
  // Reports whether only this machine can connect: a unix socket, or an address
  // of the loopback interface.
  bool is_local() const;
  // Reports whether a listener here accepts each connection that one at `other`
  // would accept. Addresses are compared as the kernel binds them: ":PORT"
  // covers "[::]:PORT" and "0.0.0.0:PORT" and every address with that port, and
  // [::ffff:1.2.3.4] is 1.2.3.4. An interface is compared only if both have
  // one, which Parse() never returns. The names of unix sockets are compared
  // byte by byte; see net/unix_file/socket_file.h for paths.
  bool Covers(const Endpoint& other) const;
  // Returns the IPv4 endpoint if this is an IPv4 address that is mapped into
  // IPv6, and otherwise this one.
  Endpoint Unmapped() const;

  // Lends the address as bind() and connect() expect it. Valid for as long as
  // this object.
  const sockaddr* address() const { return &address_.any; }
  // Returns the length of address().
  socklen_t address_length() const { return length_; }
  // Returns the address and the port; the name of a unix socket is dropped.
  PeerAddress ToAddress() const;

  // Returns the text that Parse() accepts. Bytes of a unix name that it does
  // not accept are printed as "\x0a", and so is a backslash beside them.
  std::string ToString() const;
  // Writes the same text and a NUL into `text`, without an allocation; the view
  // ends before the NUL.
  absl::string_view Print(char (&text)[kTextSize]) const;

  // Compares everything that ToString() prints, and the interface of a
  // link-local address.
  friend bool operator==(const Endpoint& a, const Endpoint& b);
  // Negates operator==.
  friend bool operator!=(const Endpoint& a, const Endpoint& b) {
    return !(a == b);
  }
  // Compares an endpoint with the address of one end of a connection. A unix
  // endpoint with a name equals no such address, nor does ":PORT".
  friend bool operator==(const Endpoint& a, const PeerAddress& b) {
    return a == FromAddress(b);
  }
  // Compares the same the other way round.
  friend bool operator==(const PeerAddress& a, const Endpoint& b) {
    return b == a;
  }
  // Negates operator==.
  friend bool operator!=(const Endpoint& a, const PeerAddress& b) {
    return !(a == b);
  }
  // Negates operator==.
  friend bool operator!=(const PeerAddress& a, const Endpoint& b) {
    return !(b == a);
  }

 private:
  // Returns the endpoint of `host`, in network byte order, and `port`, in the
  // byte order of this machine.
  static Endpoint Ipv4(const in_addr& host, uint16_t port);
  // Returns the endpoint of `host` and `port`. With `dual_stack`, for which the
  // caller passes the unspecified address, it accepts IPv4 clients as well.
  static Endpoint Ipv6(const in6_addr& host, uint16_t port, bool dual_stack);
  // Returns the endpoint of the unix socket `name`, spelled as the kernel does:
  // a path, or a NUL and a name without a file. It has at most 108 bytes.
  static Endpoint Unix(absl::string_view name);
  // Returns the name of a unix socket, spelled as the kernel does.
  absl::string_view unix_name() const;

  // Every byte that has no meaning is zero.
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
    sockaddr_un unix_socket;
  } address_;
  socklen_t length_;
  bool dual_stack_ = false;
};

}  // namespace brood::net

#endif  // BROOD_NET_ENDPOINT_H_

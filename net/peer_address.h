// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_PEER_ADDRESS_H_
#define BROOD_NET_PEER_ADDRESS_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace brood::net {

// PeerAddress: the address of one end of a connection that exists.
//
// An IPv4 or IPv6 address and a port; or only the fact that the connection is
// one of a unix socket, whose clients have no name. (What to listen on is an
// Endpoint.)
//
// A value of 28 bytes, trivially copyable: a report, a slot of the scoreboard
// and a handoff message hold one for each connection. It works in the parent
// and in a child, and allocates nothing, except in ToString().
//
// Equal addresses are equal bytes. An IPv4 client of a dual-stack listener has
// its IPv4 address, so one client has one address. The interface of a
// link-local address is compared, but not printed.
//
// Errors: FromBytes() returns nothing for bytes that are not an address.
//
// Example:
//   PeerAddress peer = PeerAddress::FromSockaddr(address);  // from accept4
//   if (peer.is_unix()) return "a client on this machine";
//   return peer.ToString();  // "192.0.2.7:40112"
class PeerAddress {
 public:
  // The number of bytes of an address, in memory and in a message.
  static constexpr size_t kSize = sizeof(sockaddr_in6);
  // An address as bytes, for another process on this machine.
  using Bytes = std::array<unsigned char, kSize>;
  // The size of the longest text, with its final NUL.
  static constexpr size_t kTextSize = INET6_ADDRSTRLEN + sizeof("[]:65535");

  // Makes the unspecified IPv4 address with port 0.
  PeerAddress();

  // Returns the address that the kernel wrote. ::ffff:a.b.c.d becomes a.b.c.d;
  // the name of a unix socket is dropped; any other family becomes the default
  // address.
  static PeerAddress FromSockaddr(const sockaddr_storage& address);
  // Returns the address of an end of a unix connection.
  static PeerAddress Unix();
  // Returns the address that ToBytes() turned into `bytes`; nothing for bytes
  // that ToBytes() cannot have returned.
  static absl::optional<PeerAddress> FromBytes(const Bytes& bytes);

  // Returns AF_INET, AF_INET6 or AF_UNIX.
  sa_family_t family() const { return address_.any.sa_family; }
  // Reports whether this is an IPv6 address.
  bool is_ipv6() const { return family() == AF_INET6; }
  // Reports whether this is an end of a unix connection.
  bool is_unix() const { return family() == AF_UNIX; }
  // Returns the port; 0 for a unix connection.
  uint16_t port() const;
  // Returns the bytes of the host in network order: 4 for IPv4, 16 for IPv6,
  // none for a unix connection. Valid for as long as this object.
  absl::Span<const unsigned char> host() const;

  // Lends the address as bind() and connect() expect it.
  const sockaddr* address() const { return &address_.any; }
  // Returns the length of address().
  socklen_t address_length() const;
  // Returns the address as bytes.
  Bytes ToBytes() const;

  // Returns "192.0.2.7:40112", "[2001:db8::1]:40112" or "unix:".
  std::string ToString() const;
  // Writes the same text and a NUL into `text`, without an allocation; the view
  // ends before the NUL.
  absl::string_view Print(char (&text)[kTextSize]) const;

  // Compares the addresses, ports and interfaces.
  friend bool operator==(const PeerAddress& a, const PeerAddress& b) {
    return a.ToBytes() == b.ToBytes();
  }
  // Negates operator==.
  friend bool operator!=(const PeerAddress& a, const PeerAddress& b) {
    return !(a == b);
  }

 private:
  // Every byte that has no meaning is zero.
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
  } address_;
};

namespace internal {

// Writes the internet address `address` as text and a NUL to `out`, which has
// room for PeerAddress::kTextSize bytes. Returns the length of the text.
size_t PrintInternetAddress(const sockaddr* address, char* out);

}  // namespace internal
}  // namespace brood::net

#endif  // BROOD_NET_PEER_ADDRESS_H_

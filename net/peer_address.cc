// SPDX-License-Identifier: Apache-2.0

#include "brood/net/peer_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace brood::net {

PeerAddress::PeerAddress() {
  static_assert(sizeof(address_) == kSize, "there are no other bytes");
  std::memset(&address_, 0, sizeof(address_));
  address_.any.sa_family = AF_INET;
}

PeerAddress PeerAddress::FromSockaddr(const sockaddr_storage& address) {
  PeerAddress result;
  switch (address.ss_family) {
    case AF_UNIX:
      return Unix();
    case AF_INET: {
      sockaddr_in ipv4;
      std::memcpy(&ipv4, &address, sizeof(ipv4));
      result.address_.ipv4.sin_addr = ipv4.sin_addr;
      result.address_.ipv4.sin_port = ipv4.sin_port;
      return result;
    }
    case AF_INET6: {
      sockaddr_in6 ipv6;
      std::memcpy(&ipv6, &address, sizeof(ipv6));
      if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
        std::memcpy(&result.address_.ipv4.sin_addr, &ipv6.sin6_addr.s6_addr[12],
                    sizeof(in_addr));
        result.address_.ipv4.sin_port = ipv6.sin6_port;
        return result;
      }
      result.address_.ipv6.sin6_family = AF_INET6;
      result.address_.ipv6.sin6_addr = ipv6.sin6_addr;
      result.address_.ipv6.sin6_port = ipv6.sin6_port;
      // A link-local peer can be reached through its interface only.
      result.address_.ipv6.sin6_scope_id = ipv6.sin6_scope_id;
      return result;
    }
    default:
      return result;
  }
}

PeerAddress PeerAddress::Unix() {
  PeerAddress result;
  result.address_.any.sa_family = AF_UNIX;
  return result;
}

absl::optional<PeerAddress> PeerAddress::FromBytes(const Bytes& bytes) {
  sockaddr_storage storage = {};
  std::memcpy(&storage, bytes.data(), bytes.size());
  const PeerAddress address = FromSockaddr(storage);
  // An address has one form in bytes.
  if (address.ToBytes() != bytes) return absl::nullopt;
  return address;
}

uint16_t PeerAddress::port() const {
  if (is_unix()) return 0;
  return ntohs(is_ipv6() ? address_.ipv6.sin6_port : address_.ipv4.sin_port);
}

absl::Span<const unsigned char> PeerAddress::host() const {
  if (is_unix()) return {};
  if (is_ipv6()) return address_.ipv6.sin6_addr.s6_addr;
  return absl::MakeConstSpan(
      reinterpret_cast<const unsigned char*>(&address_.ipv4.sin_addr),
      sizeof(address_.ipv4.sin_addr));
}

socklen_t PeerAddress::address_length() const {
  if (is_unix()) return sizeof(sa_family_t);
  return is_ipv6() ? sizeof(address_.ipv6) : sizeof(address_.ipv4);
}

PeerAddress::Bytes PeerAddress::ToBytes() const {
  Bytes bytes;
  std::memcpy(bytes.data(), &address_, bytes.size());
  return bytes;
}

std::string PeerAddress::ToString() const {
  char text[kTextSize];
  return std::string(Print(text));
}

absl::string_view PeerAddress::Print(char (&text)[kTextSize]) const {
  if (!is_unix()) {
    return absl::string_view(text,
                             internal::PrintInternetAddress(address(), text));
  }
  constexpr absl::string_view kUnix = "unix:";
  *std::copy(kUnix.begin(), kUnix.end(), text) = '\0';
  return absl::string_view(text, kUnix.size());
}

size_t internal::PrintInternetAddress(const sockaddr* address, char* out) {
  char* const begin = out;
  in_port_t port;
  if (address->sa_family == AF_INET) {
    const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &ipv4->sin_addr, out, INET_ADDRSTRLEN);
    out += std::strlen(out);
    port = ipv4->sin_port;
  } else {
    const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(address);
    *out++ = '[';
    inet_ntop(AF_INET6, &ipv6->sin6_addr, out, INET6_ADDRSTRLEN);
    out += std::strlen(out);
    *out++ = ']';
    port = ipv6->sin6_port;
  }
  *out++ = ':';
  const absl::AlphaNum digits(ntohs(port));
  out = std::copy(digits.data(), digits.data() + digits.size(), out);
  *out = '\0';
  return static_cast<size_t>(out - begin);
}

}  // namespace brood::net

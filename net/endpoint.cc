// SPDX-License-Identifier: Apache-2.0

#include "brood/net/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace brood::net {
namespace {

constexpr size_t kUnixNameAt = offsetof(sockaddr_un, sun_path);

absl::Status BadEndpoint(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CHexEscape(text), "\" is not an endpoint: ", why));
}

// Decimal digits alone, no sign, no leading zero: "0" to "65535".
bool ParsePort(absl::string_view text, uint16_t* port) {
  const bool canonical = text == "0" || !absl::StartsWith(text, "0");
  uint32_t number;
  if (!canonical ||
      !std::all_of(text.begin(), text.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &number) || number > 65535) {
    return false;
  }
  *port = static_cast<uint16_t>(number);
  return true;
}

// Reports whether `c` would break a line of the log or a list with commas.
bool IsUnprintable(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte <= ' ' || byte == 0x7f || byte == ',';
}

// Prints "unix:" and `name`, which is spelled as the kernel does, and a NUL.
// Returns the end of the text.
char* PrintUnixName(absl::string_view name, char* out) {
  constexpr absl::string_view kUnix = "unix:";
  constexpr absl::string_view kDigits = "0123456789abcdef";
  out = std::copy(kUnix.begin(), kUnix.end(), out);
  const bool is_abstract = absl::StartsWith(name, absl::string_view("\0", 1));
  if (is_abstract) {
    *out++ = '@';
    name.remove_prefix(1);
  }
  const bool escapes = std::any_of(name.begin(), name.end(), IsUnprintable);
  // A relative path is not an abstract name.
  bool escape_first = !is_abstract && absl::StartsWith(name, "@");
  for (const char c : name) {
    if (IsUnprintable(c) || (escapes && c == '\\') ||
        std::exchange(escape_first, false)) {
      const auto byte = static_cast<unsigned char>(c);
      *out++ = '\\';
      *out++ = 'x';
      *out++ = kDigits[byte >> 4];
      *out++ = kDigits[byte & 0xf];
    } else {
      *out++ = c;
    }
  }
  *out = '\0';
  return out;
}

// Returns OK if `name`, spelled as the kernel does, may name a unix socket.
absl::Status CheckUnixName(absl::string_view name) {
  const bool is_path = !name.empty() && name.front() == '/';
  const bool is_abstract = name.size() > 1 && name.front() == '\0';
  if (!is_path && !is_abstract) {
    return absl::InvalidArgumentError(
        "after unix: there must be an absolute path, or @ and a name");
  }
  if (name.size() > sizeof(sockaddr_un::sun_path) - (is_path ? 1 : 0)) {
    return absl::InvalidArgumentError(
        "the name of a unix socket has at most 107 bytes");
  }
  if (std::any_of(name.begin() + 1, name.end(), IsUnprintable)) {
    return absl::InvalidArgumentError(
        "the name of a unix socket must be without blanks, control characters "
        "and commas");
  }
  return absl::OkStatus();
}

}  // namespace

Endpoint::Endpoint() : length_(sizeof(sockaddr_in)) {
  std::memset(&address_, 0, sizeof(address_));
  address_.any.sa_family = AF_INET;
}

Endpoint Endpoint::Ipv4(const in_addr& host, uint16_t port) {
  Endpoint endpoint;
  endpoint.address_.ipv4.sin_addr = host;
  endpoint.address_.ipv4.sin_port = htons(port);
  return endpoint;
}

Endpoint Endpoint::Ipv6(const in6_addr& host, uint16_t port, bool dual_stack) {
  Endpoint endpoint;
  endpoint.address_.ipv6.sin6_family = AF_INET6;
  endpoint.address_.ipv6.sin6_addr = host;
  endpoint.address_.ipv6.sin6_port = htons(port);
  endpoint.length_ = sizeof(sockaddr_in6);
  endpoint.dual_stack_ = dual_stack;
  return endpoint;
}

Endpoint Endpoint::Unix(absl::string_view name) {
  Endpoint endpoint;
  endpoint.address_.unix_socket.sun_family = AF_UNIX;
  std::memcpy(endpoint.address_.unix_socket.sun_path, name.data(), name.size());
  endpoint.length_ = static_cast<socklen_t>(kUnixNameAt + name.size());
  return endpoint;
}

absl::StatusOr<Endpoint> Endpoint::Parse(absl::string_view text) {
  // inet_pton reads a C string, and would not see what follows a NUL.
  if (absl::StrContains(text, '\0')) {
    return BadEndpoint(text, "it holds a NUL");
  }
  absl::string_view name = text;
  if (absl::ConsumePrefix(&name, "unix:")) {
    std::string as_the_kernel_has_it(name);
    if (absl::StartsWith(name, "@")) as_the_kernel_has_it[0] = '\0';
    const absl::Status good = CheckUnixName(as_the_kernel_has_it);
    if (good.ok()) return Unix(as_the_kernel_has_it);
    return BadEndpoint(text, good.message());
  }
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) {
    return BadEndpoint(text, "it needs a port, as in 127.0.0.1:7000");
  }
  absl::string_view host = text.substr(0, colon);
  uint16_t port;
  if (!ParsePort(text.substr(colon + 1), &port)) {
    return BadEndpoint(text, "the port must be a decimal number, 0 to 65535");
  }
  if (host.empty()) return Ipv6(in6addr_any, port, /*dual_stack=*/true);
  if (host == "localhost") return Ipv4({htonl(INADDR_LOOPBACK)}, port);

  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) {
      return BadEndpoint(text, "the bracket is not closed before the port");
    }
    if (absl::StrContains(host, '%')) {
      return BadEndpoint(text, "a zone (%...) is not supported");
    }
    in6_addr ipv6;
    if (inet_pton(AF_INET6, std::string(host).c_str(), &ipv6) == 1) {
      return Ipv6(ipv6, port, /*dual_stack=*/false);
    }
    return BadEndpoint(text, "what is in brackets must be an IPv6 address");
  }
  in_addr ipv4;
  if (inet_pton(AF_INET, std::string(host).c_str(), &ipv4) == 1) {
    return Ipv4(ipv4, port);
  }
  return BadEndpoint(text,
                     "the address must be IPv4 (127.0.0.1), IPv6 in brackets "
                     "([::1]), localhost, or nothing for every address");
}

Endpoint Endpoint::FromSockaddr(const sockaddr_storage& address) {
  return FromAddress(PeerAddress::FromSockaddr(address));
}

Endpoint Endpoint::FromAddress(const PeerAddress& address) {
  Endpoint endpoint;
  std::memcpy(&endpoint.address_, address.address(), address.address_length());
  endpoint.length_ = address.address_length();
  return endpoint;
}

absl::StatusOr<Endpoint> Endpoint::FromUnix(const sockaddr_un& address,
                                            socklen_t length) {
  // The length counts a NUL that the kernel adds behind the longest path.
  const size_t end = std::min<size_t>(length, sizeof(sockaddr_un));
  absl::string_view name(address.sun_path,
                         std::max(end, kUnixNameAt) - kUnixNameAt);
  // The kernel counts the NUL after a path, and more bytes if bind() was called
  // with them.
  if (!absl::StartsWith(name, absl::string_view("\0", 1))) {
    name = name.substr(0, name.find('\0'));
  }
  if (!name.empty()) return Unix(name);
  return absl::InvalidArgumentError("the unix socket has no name");
}

uint16_t Endpoint::port() const {
  if (is_unix()) return 0;
  return ntohs(is_ipv6() ? address_.ipv6.sin6_port : address_.ipv4.sin_port);
}

Endpoint Endpoint::WithPort(uint16_t port) const {
  Endpoint endpoint = *this;
  if (is_unix()) return endpoint;
  (is_ipv6() ? endpoint.address_.ipv6.sin6_port
             : endpoint.address_.ipv4.sin_port) = htons(port);
  return endpoint;
}

absl::string_view Endpoint::unix_name() const {
  return absl::string_view(address_.unix_socket.sun_path,
                           length_ - kUnixNameAt);
}

absl::string_view Endpoint::path() const {
  if (!is_unix()) return "";
  const absl::string_view name = unix_name();
  return absl::StartsWith(name, absl::string_view("\0", 1)) ? "" : name;
}

Endpoint Endpoint::WithoutIpv6() const {
  return dual_stack_ ? Ipv4({htonl(INADDR_ANY)}, port()) : *this;
}

Endpoint Endpoint::WithoutIpv4() const {
  return dual_stack_ ? Ipv6(in6addr_any, port(), /*dual_stack=*/false) : *this;
}

Endpoint Endpoint::WithIpv4() const {
  const bool any =
      is_ipv6() && IN6_IS_ADDR_UNSPECIFIED(&address_.ipv6.sin6_addr);
  return any ? Ipv6(in6addr_any, port(), /*dual_stack=*/true) : *this;
}

bool Endpoint::is_any() const {
  if (is_ipv6()) return IN6_IS_ADDR_UNSPECIFIED(&address_.ipv6.sin6_addr);
  return !is_unix() && address_.ipv4.sin_addr.s_addr == htonl(INADDR_ANY);
}

bool Endpoint::is_local() const {
  if (is_unix()) return true;
  const Endpoint unmapped = Unmapped();
  return unmapped.is_ipv6()
             ? IN6_IS_ADDR_LOOPBACK(&unmapped.address_.ipv6.sin6_addr)
             : ntohl(unmapped.address_.ipv4.sin_addr.s_addr) >> 24 ==
                   IN_LOOPBACKNET;
}

Endpoint Endpoint::Unmapped() const {
  if (!is_ipv6() || !IN6_IS_ADDR_V4MAPPED(&address_.ipv6.sin6_addr)) {
    return *this;
  }
  in_addr host;
  std::memcpy(&host, &address_.ipv6.sin6_addr.s6_addr[12], sizeof(host));
  return Ipv4(host, port());
}

bool Endpoint::Covers(const Endpoint& other) const {
  if (is_unix() || other.is_unix()) return *this == other;
  Endpoint one = Unmapped();
  const Endpoint two = other.Unmapped();
  if (one.port() != two.port()) return false;
  if (one.dual_stack_) return true;
  if (two.dual_stack_ || one.is_ipv6() != two.is_ipv6()) return false;
  if (one.is_any()) return true;
  if (one.is_ipv6() && (one.address_.ipv6.sin6_scope_id == 0 ||
                        two.address_.ipv6.sin6_scope_id == 0)) {
    one.address_.ipv6.sin6_scope_id = two.address_.ipv6.sin6_scope_id;
  }
  return one == two;
}

PeerAddress Endpoint::ToAddress() const {
  sockaddr_storage storage = {};
  std::memcpy(&storage, address(), address_length());
  return PeerAddress::FromSockaddr(storage);
}

std::string Endpoint::ToString() const {
  char text[kTextSize];
  return std::string(Print(text));
}

absl::string_view Endpoint::Print(char (&text)[kTextSize]) const {
  if (is_unix()) {
    return absl::string_view(
        text, static_cast<size_t>(PrintUnixName(unix_name(), text) - text));
  }
  const absl::string_view printed(
      text, internal::PrintInternetAddress(address(), text));
  if (!dual_stack_) return printed;
  // Without the host, which is "[::]".
  const size_t host_size = printed.rfind(':');
  const size_t size = printed.size() - host_size;
  std::memmove(text, text + host_size, size + 1);
  return absl::string_view(text, size);
}

bool operator==(const Endpoint& a, const Endpoint& b) {
  return a.length_ == b.length_ && a.dual_stack_ == b.dual_stack_ &&
         // Every byte that has no meaning is zero, padding included.
         // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
         std::memcmp(&a.address_, &b.address_, a.length_) == 0;
}

}  // namespace brood::net

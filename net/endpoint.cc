#include "brood/net/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "brood/net/unix_names.h"

namespace brood::net {
namespace {

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

}  // namespace

Endpoint::Endpoint() {
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
  endpoint.dual_stack_ = dual_stack;
  return endpoint;
}

// `name` as the kernel has it: a path, or a NUL and a name without a file.
absl::StatusOr<Endpoint> Endpoint::Unix(absl::string_view name) {
  const absl::StatusOr<uint16_t> place = UnixNames::PlaceOf(name);
  if (!place.ok()) return place.status();
  Endpoint endpoint;
  endpoint.address_.unix_place = {AF_UNIX, *place};
  return endpoint;
}

absl::StatusOr<Endpoint> Endpoint::Parse(absl::string_view text) {
  // inet_pton reads a C string, and would not see what hides behind a NUL.
  if (absl::StrContains(text, '\0')) {
    return BadEndpoint(text, "it holds a NUL");
  }
  absl::string_view name = text;
  if (absl::ConsumePrefix(&name, "unix:")) {
    std::string as_the_kernel_has_it(name);
    if (absl::StartsWith(name, "@")) as_the_kernel_has_it[0] = '\0';
    absl::StatusOr<Endpoint> endpoint = Unix(as_the_kernel_has_it);
    if (!absl::IsInvalidArgument(endpoint.status())) return endpoint;
    return BadEndpoint(text, endpoint.status().message());
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
  if (address.ss_family == AF_INET) {
    sockaddr_in ipv4;
    std::memcpy(&ipv4, &address, sizeof(ipv4));
    return Ipv4(ipv4.sin_addr, ntohs(ipv4.sin_port));
  }
  if (address.ss_family == AF_UNIX) {
    Endpoint endpoint;
    endpoint.address_.unix_place = {AF_UNIX, UnixNames::kNoName};
    return endpoint;
  }
  if (address.ss_family != AF_INET6) return Endpoint();

  sockaddr_in6 ipv6;
  std::memcpy(&ipv6, &address, sizeof(ipv6));
  const uint16_t port = ntohs(ipv6.sin6_port);
  if (!IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
    Endpoint endpoint = Ipv6(ipv6.sin6_addr, port, /*dual_stack=*/false);
    // A link-local peer is reachable through its interface alone.
    endpoint.address_.ipv6.sin6_scope_id = ipv6.sin6_scope_id;
    return endpoint;
  }
  in_addr mapped;
  std::memcpy(&mapped, &ipv6.sin6_addr.s6_addr[12], sizeof(mapped));
  return Ipv4(mapped, port);
}

absl::StatusOr<Endpoint> Endpoint::FromUnix(const sockaddr_un& address,
                                            socklen_t length) {
  const size_t prefix = offsetof(sockaddr_un, sun_path);
  absl::string_view name(address.sun_path,
                         std::max<size_t>(length, prefix) - prefix);
  // The kernel counts the NUL behind a path, and more if it was told so.
  if (!absl::StartsWith(name, absl::string_view("\0", 1))) {
    name = name.substr(0, name.find('\0'));
  }
  absl::StatusOr<Endpoint> endpoint = Unix(name);
  if (!absl::IsInvalidArgument(endpoint.status())) return endpoint;
  return BadEndpoint(absl::StrCat("unix:", name), endpoint.status().message());
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

absl::string_view Endpoint::path() const {
  if (!is_unix()) return "";
  const absl::string_view name = UnixNames::Name(address_.unix_place.place);
  return absl::StartsWith(name, "/") ? name : "";
}

Endpoint Endpoint::WithoutIpv6() const {
  return dual_stack_ ? Ipv4({htonl(INADDR_ANY)}, port()) : *this;
}

const sockaddr* Endpoint::address() const {
  if (!is_unix()) return &address_.any;
  return reinterpret_cast<const sockaddr*>(
      &UnixNames::Address(address_.unix_place.place));
}

Endpoint Endpoint::WithIpv4() const {
  const bool any =
      is_ipv6() && IN6_IS_ADDR_UNSPECIFIED(&address_.ipv6.sin6_addr);
  return any ? Ipv6(in6addr_any, port(), /*dual_stack=*/true) : *this;
}

socklen_t Endpoint::address_length() const {
  if (is_unix()) {
    return static_cast<socklen_t>(
        offsetof(sockaddr_un, sun_path) +
        UnixNames::Name(address_.unix_place.place).size());
  }
  return is_ipv6() ? sizeof(address_.ipv6) : sizeof(address_.ipv4);
}

Endpoint Endpoint::FromAddress(const PeerAddress& address) {
  sockaddr_storage storage = {};
  std::memcpy(&storage, address.address(), address.address_length());
  return FromSockaddr(storage);
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
  char* out = text;
  if (is_unix()) {
    const absl::string_view name = UnixNames::Name(address_.unix_place.place);
    constexpr absl::string_view kUnix = "unix:";
    out = std::copy(kUnix.begin(), kUnix.end(), out);
    out = std::copy(name.begin(), name.end(), out);
    if (absl::StartsWith(name, absl::string_view("\0", 1))) {
      text[kUnix.size()] = '@';
    }
    *out = '\0';
    return absl::string_view(text, static_cast<size_t>(out - text));
  }
  if (!is_ipv6()) {
    inet_ntop(AF_INET, &address_.ipv4.sin_addr, out, INET_ADDRSTRLEN);
    out += std::strlen(out);
  } else if (!dual_stack_) {
    *out++ = '[';
    inet_ntop(AF_INET6, &address_.ipv6.sin6_addr, out, INET6_ADDRSTRLEN);
    out += std::strlen(out);
    *out++ = ']';
  }
  *out++ = ':';
  const absl::AlphaNum digits(port());
  out = std::copy(digits.data(), digits.data() + digits.size(), out);
  *out = '\0';
  return absl::string_view(text, static_cast<size_t>(out - text));
}

bool operator==(const Endpoint& a, const Endpoint& b) {
  // Both are zeroed before they are filled, padding included.
  return a.dual_stack_ == b.dual_stack_ &&
         // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
         std::memcmp(&a.address_, &b.address_, sizeof(a.address_)) == 0;
}

}  // namespace brood::net

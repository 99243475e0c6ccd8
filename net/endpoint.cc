#include "brood/net/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace brood::net {
namespace {

absl::Status BadEndpoint(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not an endpoint: ", why));
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

absl::StatusOr<Endpoint> Endpoint::Parse(absl::string_view text) {
  // inet_pton reads a C string, and would not see what hides behind a NUL.
  if (absl::StrContains(text, '\0')) {
    return BadEndpoint(absl::CHexEscape(text), "it holds a NUL");
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

uint16_t Endpoint::port() const {
  return ntohs(is_ipv6() ? address_.ipv6.sin6_port : address_.ipv4.sin_port);
}

Endpoint Endpoint::WithPort(uint16_t port) const {
  Endpoint endpoint = *this;
  (is_ipv6() ? endpoint.address_.ipv6.sin6_port
             : endpoint.address_.ipv4.sin_port) = htons(port);
  return endpoint;
}

Endpoint Endpoint::WithoutIpv6() const {
  return dual_stack_ ? Ipv4({htonl(INADDR_ANY)}, port()) : *this;
}

socklen_t Endpoint::address_length() const {
  return is_ipv6() ? sizeof(address_.ipv6) : sizeof(address_.ipv4);
}

std::string Endpoint::ToString() const {
  char text[kTextSize];
  return std::string(Print(text));
}

absl::string_view Endpoint::Print(char (&text)[kTextSize]) const {
  char* out = text;
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

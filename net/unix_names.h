// UnixNames: the names of unix sockets that this program has to do with, kept
// so that an Endpoint is as small with one as with an internet address.
//
// A name is a path, or a NUL and what follows it ("abstract", without a file);
// none is kept twice or ever forgotten. Those that a process knew when it
// forked, its child knows by the same places. PlaceOf() may be called in any
// thread; the others neither lock nor allocate, and are safe after any fork.
//
// Errors: PlaceOf() gives InvalidArgument, saying what is allowed, for what is
// not a name, and ResourceExhausted for one too many.
//
// Example:
//   absl::StatusOr<uint16_t> place = UnixNames::PlaceOf("/run/echo.sock");
//   if (place.ok()) bind(fd, &UnixNames::Address(*place), ...);

#ifndef BROOD_NET_UNIX_NAMES_H_
#define BROOD_NET_UNIX_NAMES_H_

#include <sys/un.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::net {

class UnixNames {
 public:
  static constexpr uint16_t kNoName = 0;
  static constexpr uint16_t kMost = 1000;

  static absl::StatusOr<uint16_t> PlaceOf(absl::string_view name);
  static bool Has(uint16_t place);
  // Of a place that there is.
  static absl::string_view Name(uint16_t place);
  static const sockaddr_un& Address(uint16_t place);
};

}  // namespace brood::net

#endif  // BROOD_NET_UNIX_NAMES_H_

#include "brood/net/unix_names.h"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <mutex>  // NOLINT(build/c++11): held where there may be threads.

#include "absl/status/status.h"

namespace brood::net {
namespace {

struct Known {
  sockaddr_un address = {};
  size_t length = 0;  // of the name
};

// What is below the count is never written again, so that it is read without a
// lock, which a thread of the parent's might have held when we were forked.
constexpr Known kUnnamed = {{AF_UNIX, {}}, 0};
const Known* known[UnixNames::kMost + 1];
std::atomic<uint16_t> known_count{1};  // the first place has no name

const Known& At(uint16_t place) {
  return place == UnixNames::kNoName ? kUnnamed : *known[place];
}

// What would break a line of the log, or a list with commas.
bool Unprintable(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte <= ' ' || byte == 0x7f || byte == ',';
}

absl::Status Check(absl::string_view name) {
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
  if (std::any_of(name.begin() + 1, name.end(), Unprintable)) {
    return absl::InvalidArgumentError(
        "the name of a unix socket must be without blanks, control characters "
        "and commas");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint16_t> UnixNames::PlaceOf(absl::string_view name) {
  absl::Status good = Check(name);
  if (!good.ok()) return good;
  static std::mutex growing;
  const std::lock_guard<std::mutex> lock(growing);
  const uint16_t count = known_count;
  for (uint16_t place = 1; place < count; ++place) {
    if (Name(place) == name) return place;
  }
  if (count > UnixNames::kMost) {
    return absl::ResourceExhaustedError(
        "this program has had to do with too many unix sockets");
  }
  auto* added = new Known;
  added->address.sun_family = AF_UNIX;
  std::memcpy(added->address.sun_path, name.data(), name.size());
  added->length = name.size();
  known[count] = added;
  known_count = static_cast<uint16_t>(count + 1);
  return count;
}

bool UnixNames::Has(uint16_t place) { return place < known_count; }

absl::string_view UnixNames::Name(uint16_t place) {
  return absl::string_view(At(place).address.sun_path, At(place).length);
}

const sockaddr_un& UnixNames::Address(uint16_t place) {
  return At(place).address;
}

}  // namespace brood::net

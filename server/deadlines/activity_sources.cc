// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/activity_sources.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/namespaces/run_in_namespace.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace brood::server {
namespace {

using net::TcpActivity;
using net::UniqueFd;

// Returns the number of the network namespace of the socket `fd`; zero on a
// kernel without such numbers (Linux before 5.14).
uint64_t NetworkOf(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0) {
    return 0;
  }
  return cookie;
}

// Returns `status` with `remedy` after its message.
absl::Status WithRemedy(const absl::Status& status, const char* remedy) {
  return absl::Status(status.code(),
                      absl::StrCat(status.message(), "; ", remedy));
}

// Returns a source that asks in the network namespace of the listener `fd`.
absl::StatusOr<TcpActivity> CreateInNetworkOf(int fd) {
  const UniqueFd network = UniqueFd::Adopt(ioctl(fd, SIOCGSKNS));
  if (!network.valid()) return absl::ErrnoToStatus(errno, "ioctl SIOCGSKNS");
  // Reserves the number under which the socket is opened: the socket stays open
  // in this process when the process that opened it has ended.
  UniqueFd reserved = UniqueFd::AboveStandardDescriptors(
      UniqueFd::Adopt(open("/dev/null", O_RDONLY | O_CLOEXEC)));
  if (!reserved.valid()) return absl::ErrnoToStatus(errno, "open /dev/null");
  absl::Status opened = proc::RunInNamespace(network.fd(), [&] {
    const int socket_fd =
        socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    const bool moved =
        socket_fd >= 0 && dup3(socket_fd, reserved.fd(), O_CLOEXEC) >= 0;
    const int error = moved ? 0 : errno;
    if (socket_fd >= 0) close(socket_fd);
    return error;
  });
  if (!opened.ok()) return opened;
  return TcpActivity::Adopt(std::move(reserved));
}

}  // namespace

absl::Status ActivitySources::Add(const net::Listener& listener) {
  absl::Status added = TryAdd(listener.fd());
  some_failed_ |= !added.ok();
  return added;
}

absl::Status ActivitySources::TryAdd(int fd) {
  const uint64_t network = NetworkOf(fd);
  for (const Source& source : sources_) {
    if (source.network != network) continue;
    absl::Status seen = source.activity->CheckSees(fd);
    if (seen.ok()) return seen;
  }
  absl::StatusOr<TcpActivity> here = TcpActivity::Create();
  if (!here.ok()) {
    return WithRemedy(here.status(),
                      "allow the address family AF_NETLINK (systemd: "
                      "RestrictAddressFamilies=)");
  }
  absl::Status seen = here->CheckSees(fd);
  const uint64_t own_network = NetworkOf(here->fd());
  if (seen.ok()) {
    sources_.push_back({network, proc::Private<TcpActivity>(*std::move(here))});
    return seen;
  }
  if (!absl::IsNotFound(seen)) return seen;
  if (network != 0 && network == own_network) {
    return WithRemedy(seen, "load the module tcp_diag of the kernel");
  }
  absl::StatusOr<TcpActivity> there = CreateInNetworkOf(fd);
  seen = there.ok() ? there->CheckSees(fd) : there.status();
  if (seen.ok() && network == 0 && !sources_.empty()) {
    seen = absl::UnimplementedError("before Linux 5.14 there can be one only");
  }
  if (seen.ok()) {
    sources_.push_back(
        {network, proc::Private<TcpActivity>(*std::move(there))});
    return seen;
  }
  return WithRemedy(
      absl::FailedPreconditionError(absl::StrCat(
          "it is in another network namespace (", seen.message(), ")")),
      "start the server in that namespace (systemd: no PrivateNetwork=, or "
      "NetworkNamespacePath=), or with CAP_NET_ADMIN and CAP_SYS_ADMIN");
}

const net::TcpActivity* ActivitySources::Find(int fd) const {
  if (sources_.empty()) return nullptr;
  if (sources_.size() == 1 && !some_failed_) return &*sources_[0].activity;
  const uint64_t network = NetworkOf(fd);
  for (const Source& source : sources_) {
    if (source.network == network) return &*source.activity;
  }
  return nullptr;
}

}  // namespace brood::server

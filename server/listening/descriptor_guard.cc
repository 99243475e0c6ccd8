// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/descriptor_guard.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "brood/net/listener.h"
#include "brood/server/text/listen_entry.h"

namespace brood::server {
namespace {

// The socket options that net/listener.h sets.
constexpr struct {
  int level, option;
} kSocketOptions[] = {
    {SOL_SOCKET, SO_KEEPALIVE},  {IPPROTO_TCP, TCP_NODELAY},
    {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},  {IPPROTO_TCP, TCP_USER_TIMEOUT},
};

}  // namespace

absl::StatusOr<DescriptorGuard> DescriptorGuard::Create(
    const Options& options, const std::vector<InheritedListener>& inherited) {
  DescriptorGuard guard;
  absl::Status noted;
  for (const InheritedListener& each : inherited) {
    noted.Update(guard.Note(each.socket.fd(), /*by_number=*/false));
  }
  for (const std::string& text : options.listen) {
    const absl::StatusOr<ListenEntry> entry = ListenEntry::Parse(text);
    if (!entry.ok() || entry->kind != ListenEntry::kDescriptor) continue;
    const bool is_inherited = std::any_of(
        inherited.begin(), inherited.end(),
        [&](const auto& each) { return each.socket.fd() == entry->fd; });
    if (is_inherited || !net::CheckListening(entry->fd).ok()) continue;
    noted.Update(guard.Note(entry->fd, /*by_number=*/true));
  }
  if (!noted.ok()) return noted;
  return guard;
}

absl::Status DescriptorGuard::Note(int fd, bool by_number) {
  Noted noted;
  noted.number = by_number ? fd : -1;
  noted.copy =
      net::UniqueFd::Adopt(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  noted.descriptor_flags = fcntl(fd, F_GETFD);
  noted.status_flags = fcntl(fd, F_GETFL);
  if (!noted.copy.valid() || noted.descriptor_flags < 0 ||
      noted.status_flags < 0) {
    return absl::ErrnoToStatus(errno, "fcntl of a listener");
  }
  for (int i = 0; i < kOptions; ++i) {
    socklen_t length = sizeof(int);
    if (getsockopt(fd, kSocketOptions[i].level, kSocketOptions[i].option,
                   &noted.options[i], &length) < 0) {
      noted.options[i] = -1;  // a unix socket
    }
  }
  noted_.push_back(std::move(noted));
  return absl::OkStatus();
}

void DescriptorGuard::Restore(const Noted& noted) {
  const int fd = noted.copy.fd();
  if (noted.number >= 0 && fcntl(noted.number, F_GETFD) < 0) {
    dup2(fd, noted.number);
    fcntl(noted.number, F_SETFD, noted.descriptor_flags);
  }
  fcntl(fd, F_SETFL, noted.status_flags);
  for (int i = 0; i < kOptions; ++i) {
    int now = -1;
    socklen_t length = sizeof(now);
    const auto& [level, option] = kSocketOptions[i];
    if (noted.options[i] < 0 ||
        getsockopt(fd, level, option, &now, &length) < 0 ||
        now == noted.options[i]) {
      continue;
    }
    setsockopt(fd, level, option, &noted.options[i], sizeof(now));
  }
}

DescriptorGuard::~DescriptorGuard() {
  for (const Noted& noted : noted_) Restore(noted);
}

}  // namespace brood::server

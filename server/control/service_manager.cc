// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/service_manager.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace brood::server {
namespace {

constexpr char kVariable[] = "NOTIFY_SOCKET";

// Returns the error of `call` on `address`, by errno.
absl::Status ErrorAt(const char* call, const net::Endpoint& address) {
  const int error = errno;
  return absl::ErrnoToStatus(
      error, absl::StrCat(kVariable, ": ", call, " ", address.ToString()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServiceManager>> ServiceManager::Create(
    absl::string_view address, EventLog* log) {
  if (address.empty()) {
    return std::unique_ptr<ServiceManager>(
        new ServiceManager(net::Endpoint(), net::Socket(), log));
  }
  const absl::StatusOr<net::Endpoint> endpoint =
      net::Endpoint::Parse(absl::StrCat("unix:", address));
  if (!endpoint.ok()) {
    return absl::Status(endpoint.status().code(),
                        absl::StrCat(kVariable, "=", absl::CHexEscape(address),
                                     ": ", endpoint.status().message()));
  }
  net::Socket socket = net::Socket::AboveStandardDescriptors(
      net::Socket::Adopt(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "socket AF_UNIX");
  // Connects to find out whether a program listens there, and disconnects: the
  // manager may be restarted, with a new socket at the same address.
  if (connect(socket.fd(), endpoint->address(), endpoint->address_length()) <
      0) {
    return ErrorAt("connect", *endpoint);
  }
  const sockaddr none = {AF_UNSPEC, {}};
  if (connect(socket.fd(), &none, sizeof(none)) < 0) {
    return ErrorAt("connect AF_UNSPEC", *endpoint);
  }
  return std::unique_ptr<ServiceManager>(
      new ServiceManager(*endpoint, std::move(socket), log));
}

ServiceManager::ServiceManager(const net::Endpoint& address, net::Socket socket,
                               EventLog* log)
    : address_(address), socket_(std::move(socket)), log_(log) {}

void ServiceManager::Ready() { Notify("READY=1"); }

void ServiceManager::Reloading(net::Instant now) {
  const auto since_boot = std::chrono::duration_cast<std::chrono::microseconds>(
      now.time_since_epoch());
  Notify(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", since_boot.count()));
}

void ServiceManager::Stopping() { Notify("STOPPING=1"); }

// Sends one datagram: after MAINPID, the service manager may ignore
// notifications of this process.
void ServiceManager::MainPid(pid_t pid) {
  Notify(absl::StrCat("MAINPID=", pid, "\nREADY=1"));
}

void ServiceManager::Status(absl::string_view text) {
  // A second line would be another assignment.
  Notify(absl::StrCat("STATUS=", absl::StrReplaceAll(text, {{"\n", " "}})));
}

void ServiceManager::Notify(absl::string_view lines) {
  if (!socket_->valid()) return;
  const ssize_t sent = TEMP_FAILURE_RETRY(sendto(
      socket_.fd(), lines.data(), lines.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
      address_.address(), address_.address_length()));
  if (sent < 0) log_->NotifyFailed(lines, ErrorAt("sendto", address_));
}

}  // namespace brood::server

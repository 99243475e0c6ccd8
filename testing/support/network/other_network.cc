// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/network/other_network.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/status/status.h"

namespace brood::testing {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// Enters a new namespace, with the loopback interface up.
bool EnterNewNetwork() {
  if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
    return false;
  }
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq loopback = {};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &loopback) == 0;
  close(fd);
  return is_up;
}

// Creates the sockets and writes their numbers to `pipe`. Returns 0 or an
// errno.
int MakeSockets(int count, int port, int pipe) {
  if (!EnterNewNetwork()) return errno;
  const sockaddr_in address = Loopback(port);
  for (int i = 0; i <= count; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    const bool is_listener = i == 0;
    if (is_listener && (bind(fd, reinterpret_cast<const sockaddr*>(&address),
                             sizeof(address)) < 0 ||
                        listen(fd, SOMAXCONN) < 0)) {
      return errno;
    }
    if (write(pipe, &fd, sizeof(fd)) != sizeof(fd)) return errno;
  }
  return 0;
}

}  // namespace

// A process that shares the descriptors of this one creates the sockets.
absl::StatusOr<OtherNetwork> OtherNetwork::Create(int count, int port) {
  int numbers[2];
  if (pipe2(numbers, O_CLOEXEC) < 0) return absl::ErrnoToStatus(errno, "pipe2");
  const auto pid = static_cast<pid_t>(syscall(
      SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (pid == 0) _exit(MakeSockets(count, port, numbers[1]));
  int status = 0;
  const bool ended = waitpid(pid, &status, 0) == pid;
  close(numbers[1]);
  OtherNetwork made;
  for (int fd; read(numbers[0], &fd, sizeof(fd)) == sizeof(fd);) {
    net::Socket socket = net::Socket::Adopt(fd);
    if (made.listener.valid()) {
      made.clients.push_back(std::move(socket));
    } else {
      made.listener = std::move(socket);
    }
  }
  close(numbers[0]);
  if (!ended || !WIFEXITED(status)) return absl::AbortedError("clone");
  if (WEXITSTATUS(status) != 0) {
    return absl::ErrnoToStatus(WEXITSTATUS(status), "a network namespace");
  }
  return made;
}

net::Socket OtherNetwork::Connect() {
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof(address);
  getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &length);
  net::Socket client = std::move(clients.back());
  clients.pop_back();
  if (connect(client.fd(), reinterpret_cast<sockaddr*>(&address), length) < 0) {
    client.Close();
  }
  return client;
}

}  // namespace brood::testing

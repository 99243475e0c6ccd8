// SPDX-License-Identifier: Apache-2.0

// The scenarios with another program: sockets are inherited, a service manager
// gets notifications, a file was left behind, a new program takes over.

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/server/handler.h"
#include "brood/server/process/preparation.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/syscalls/syscall_scenarios.h"

namespace brood::testing {
namespace {

using net::Socket;
using server::TcpServer;
using Setup = TestServer::Setup;

constexpr int kFirstFd = STDERR_FILENO + 1;

// Returns a socket of `type` that is bound to `endpoint`.
Socket BindTo(const net::Endpoint& endpoint, int type) {
  Socket socket = Socket::Adopt(
      ::socket(endpoint.address()->sa_family, type | SOCK_CLOEXEC, 0));
  if (!socket.valid() && endpoint.is_ipv6()) {
    return BindTo(*net::Endpoint::Parse("127.0.0.1:0"), type);
  }
  unlink(std::string(endpoint.path()).c_str());  // of an earlier run
  if (bind(socket.fd(), endpoint.address(), endpoint.address_length()) < 0) {
    throw std::runtime_error("bind " + endpoint.ToString());
  }
  return socket;
}

Socket ListenOn(const net::Endpoint& endpoint) {
  Socket socket = BindTo(endpoint, SOCK_STREAM);
  listen(socket.fd(), 64);
  return socket;
}

// Returns a listener on IPv6, or on IPv4 if the machine has no IPv6.
Socket ListenOnLoopback() { return ListenOn(*net::Endpoint::Parse("[::1]:0")); }

// One listener is identified by its number alone, and a service manager gets
// notifications.
Scenario Inherited(const ShortDir& dir) {
  Scenario scenario;
  scenario.name = "inherited listeners, a service manager";
  scenario.prepare = [&dir](Setup& setup) {
    Kept kept;
    kept.sockets.push_back(BindTo(dir.Socket("notify"), SOCK_DGRAM));
    setup.options.notify_socket = dir.File("notify");
    kept.lent.push_back(ListenOn(dir.Socket("inherited")));
    setup.inherited = {kept.lent[0].fd()};
    kept.lent.push_back(ListenOnLoopback());
    setup.given = {kept.lent[1].fd()};
    setup.options.listen = {"inherited", absl::StrCat("fd:", setup.given[0])};
    // Options that the service manager decides, and the server ignores.
    setup.options.backlog = 7;
    setup.options.unix_mode = 0660;
    return kept;
  };
  return scenario;
}

// One listener has a file that an earlier server has left behind.
Scenario UnixSockets(const ShortDir& dir) {
  Scenario scenario;
  scenario.name = "unix sockets";
  scenario.prepare = [&dir](Setup& setup) {
    ListenOn(dir.Socket("stale"));
    setup.options.listen = {dir.Socket("stale").ToString(),
                            absl::StrCat("unix:@", dir.path())};
    // The umask removes a permission of the file, which the server restores.
    setup.before = [] { umask(S_IWGRP | S_IWOTH); };
    setup.options.unix_mode = 0660;
    setup.handler = [echo = setup.handler](net::Connection& connection) {
      return connection.local().is_unix() ? echo(connection)
                                          : server::ExitCode::kBug;
    };
    return Kept();
  };
  return scenario;
}

Scenario LockedDirectory(const ShortDir& dir) {
  Scenario scenario = UnixSockets(dir);
  scenario.name = "unix sockets, in a directory that is locked for a moment";
  scenario.always_fail = {{"TryToLockDirectoryOf flock", EWOULDBLOCK, 2}};
  return scenario;
}

Scenario WithoutProc(const ShortDir& dir) {
  Scenario scenario = UnixSockets(dir);
  scenario.name = "unix sockets, without /proc";
  scenario.always_fail = {{"SetMode chmod", ENOENT}};
  return scenario;
}

// The start fails after one socket was bound.
Scenario RefusedAfterBind(const ShortDir& dir) {
  Scenario scenario = With("a path that is no socket", [&dir](Setup& setup) {
    setup.options.listen = {dir.Socket("new").ToString(),
                            "unix:" + dir.File(".")};
  });
  scenario.refused = true;
  return scenario;
}

// The server is the new program of an upgrade. The listeners that it inherits
// have other settings, another spelling of their paths, and a removed file.
Scenario ChangedListeners(const ShortDir& dir) {
  Scenario scenario;
  scenario.name = "successor, other settings and paths";
  scenario.prepare = [&dir](Setup& setup) {
    Kept kept;
    kept.lent.push_back(Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    kept.lent.push_back(ListenOnLoopback());
    const unsigned timeout = 5000;
    setsockopt(kept.lent.back().fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout,
               sizeof(timeout));
    kept.lent.push_back(ListenOn(dir.Socket("spelled")));
    kept.lent.push_back(ListenOn(dir.Socket("removed")));
    unlink(dir.File("removed").c_str());
    kept.lent = FromThreeOn(std::move(kept.lent));
    setup.given = {kFirstFd, kFirstFd + 1, kFirstFd + 2, kFirstFd + 3};
    setup.before = [] {
      setenv("BROOD_UPGRADE", "127.0.0.1:0\tbound\none\tbound\ntwo\tbound\n",
             1);
    };
    setup.options.listen = {"127.0.0.1:0", "unix:" + dir.File("/spelled"),
                            "unix:" + dir.File("/removed")};
    setup.options.unix_mode = 0660;
    setup.options.upgrade.command = {"/no/such/program"};
    return kept;
  };
  return scenario;
}

// The server is the new program of an upgrade, and does not use one of the
// listeners that it inherits.
Scenario Successor() {
  Scenario scenario;
  scenario.name = "successor";
  scenario.prepare = [](Setup& setup) {
    Kept kept;
    kept.lent.push_back(Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    kept.lent.push_back(ListenOnLoopback());
    kept.lent.push_back(ListenOnLoopback());
    kept.lent = FromThreeOn(std::move(kept.lent));
    setup.given = {kFirstFd, kFirstFd + 1, kFirstFd + 2};
    setup.before = [] { setenv("BROOD_UPGRADE", "127.0.0.1:0\nanother\n", 1); };
    setup.options.upgrade.command = {"/no/such/program"};
    return kept;
  };
  return scenario;
}

// In the server process: the new program ends when a line is written here.
int end_of_successor = -1;

// The new program reports that it is ready, and continues to run.
Scenario Upgrades() {
  Scenario scenario = With("upgrade", [](Setup& setup) {
    setup.options.listen = {"127.0.0.1:0", "127.0.0.1:0"};
    setup.options.upgrade.command = {
        "/bin/sh", "-c",
        "printf '\\001\\000\\000\\000\\000\\000\\000\\000' >&3; read line"};
    setup.before = [] {
      int fds[2];
      if (pipe2(fds, O_CLOEXEC) < 0) throw std::runtime_error("pipe2");
      dup2(fds[0], STDIN_FILENO);
      close(fds[0]);
      end_of_successor = fds[1];
      // As if the process had raised its limit: children and the new program
      // get the lower one.
      rlimit limit;
      getrlimit(RLIMIT_NOFILE, &limit);
      --limit.rlim_cur;
      server::Preparation::OfThisProcess().RaisedDescriptors(limit);
    };
    setup.after = [] {
      if (write(end_of_successor, "\n", 1) < 0) abort();
      // No other child has the exit signal SIGCHLD.
      waitpid(-1, nullptr, 0);
    };
  });
  scenario.upgrades = true;
  return scenario;
}

// The new program is not ready in time. It ends by itself if it cannot be
// killed.
Scenario FailsToUpgrade() {
  Scenario scenario = With("own loop, an upgrade that fails", [](Setup& setup) {
    setup.options.upgrade.command = {"/bin/sh", "-c", "exec sleep 3"};
    setup.options.upgrade.timeout = absl::Milliseconds(50);
    setup.options.take_signals = false;
    setup.run = RunInOwnLoop;
  });
  scenario.upgrades = true;
  return scenario;
}

TcpServer* polled_server = nullptr;
void Request(int signal) {
  signal == SIGUSR2 ? polled_server->RequestUpgrade()
                    : polled_server->RequestDrain();
}

}  // namespace

absl::Status RunInOwnLoop(TcpServer& server) {
  const absl::StatusOr<int> fd = server.PollableFd();
  if (!fd.ok()) return fd.status();
  polled_server = &server;
  struct sigaction action = {}, before_drain, before_upgrade;
  action.sa_handler = Request;
  sigaction(SIGTERM, &action, &before_drain);
  sigaction(SIGUSR2, &action, &before_upgrade);
  const absl::Cleanup restore = [&] {
    sigaction(SIGTERM, &before_drain, nullptr);
    sigaction(SIGUSR2, &before_upgrade, nullptr);
  };
  for (;;) {
    pollfd ready = {*fd, POLLIN, 0};
    poll(&ready, 1, -1);
    const absl::StatusOr<bool> goes_on = server.Step();
    if (!goes_on.ok()) return goes_on.status();
    if (!*goes_on) return absl::OkStatus();
  }
}

std::vector<Socket> FromThreeOn(std::vector<Socket> sockets) {
  const int end = kFirstFd + static_cast<int>(sockets.size());
  for (Socket& socket : sockets) {
    socket = Socket::Adopt(fcntl(socket.fd(), F_DUPFD_CLOEXEC, end));
  }
  std::vector<Socket> moved;
  for (const Socket& socket : sockets) {
    const int fd = kFirstFd + static_cast<int>(moved.size());
    if (fcntl(fd, F_GETFD) >= 0) {
      throw std::runtime_error(absl::StrCat("descriptor ", fd, " is in use"));
    }
    moved.push_back(Socket::Adopt(dup3(socket.fd(), fd, O_CLOEXEC)));
  }
  return moved;
}

std::vector<Scenario> HandoffScenarios(const ShortDir& dir) {
  return {Inherited(dir),        UnixSockets(dir),
          LockedDirectory(dir),  WithoutProc(dir),
          RefusedAfterBind(dir), Successor(),
          ChangedListeners(dir), Upgrades(),
          FailsToUpgrade()};
}

}  // namespace brood::testing

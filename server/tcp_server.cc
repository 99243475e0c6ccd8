#include "brood/server/tcp_server.h"

#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "brood/net/listener.h"
#include "brood/proc/reaper.h"
#include "brood/proc/signals.h"
#include "brood/proc/spawn.h"
#include "brood/server/strategy/fork_per_connection.h"

namespace brood::server {
namespace {

absl::StatusOr<std::vector<net::Listener>> ListenOnAll(const Options& options) {
  std::vector<net::Listener> listeners;
  for (const std::string& text : options.listen) {
    absl::StatusOr<net::Endpoint> endpoint = net::Endpoint::Parse(text);
    if (!endpoint.ok()) return endpoint.status();
    absl::StatusOr<net::Listener> listener =
        net::Listener::Listen(*endpoint, options.backlog);
    if (!listener.ok()) return listener.status();
    listeners.push_back(*std::move(listener));
  }
  return listeners;
}

// Each death of a child waits in a queue that the kernel bounds.
void CheckExitQueue(const Options& options, EventLog* log) {
  rlimit pending;
  const auto cap = static_cast<size_t>(options.max_connections);
  if (getrlimit(RLIMIT_SIGPENDING, &pending) == 0 && pending.rlim_cur < cap) {
    log->ExitQueueShort(pending.rlim_cur, cap);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<TcpServer>> TcpServer::Create(
    const Options& options, Handler handler) {
  absl::Status valid = options.Validate();
  if (!valid.ok()) return valid;

  std::unique_ptr<TcpServer> server(new TcpServer);
  server->log_ = std::make_unique<EventLog>(options.log_level);
  CheckExitQueue(options, server->log_.get());

  // Signals first: one that comes while we bind must find the inbox.
  absl::optional<proc::SignalInbox> signals;
  if (options.take_signals) {
    absl::StatusOr<proc::SignalInbox> inbox =
        proc::SignalInbox::Create({SIGTERM, SIGINT, SIGHUP, SIGUSR2});
    if (!inbox.ok()) return inbox.status();
    signals.emplace(*std::move(inbox));
  }
  if (options.init && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
    return absl::ErrnoToStatus(errno, "prctl PR_SET_CHILD_SUBREAPER");
  }
  auto reaper =
      proc::Reaper::Create(options.owns_all_children || options.init
                               ? proc::Reaper::Ownership::kEveryChild
                               : proc::Reaper::Ownership::kOursAlone,
                           static_cast<size_t>(options.max_connections));
  if (!reaper.ok()) return reaper.status();
  auto spawner = proc::Spawner::Create((*reaper)->exit_signal());
  if (!spawner.ok()) return spawner.status();

  server->drain_request_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (server->drain_request_fd_ < 0) {
    return absl::ErrnoToStatus(errno, "eventfd");
  }
  absl::StatusOr<std::vector<net::Listener>> listeners = ListenOnAll(options);
  if (!listeners.ok()) return listeners.status();
  for (const net::Listener& listener : *listeners) {
    server->endpoints_.push_back(listener.endpoint());
  }

  auto strategy = std::make_unique<ForkPerConnection>(
      *std::move(spawner), static_cast<size_t>(options.max_size),
      std::move(handler), server->log_.get());
  server->supervisor_ = std::make_unique<Supervisor>(
      options,
      Supervisor::Parts{*std::move(listeners), *std::move(reaper),
                        std::move(signals), std::move(strategy),
                        server->log_.get(), server->drain_request_fd_});
  return server;
}

TcpServer::~TcpServer() {
  supervisor_.reset();
  if (drain_request_fd_ >= 0) close(drain_request_fd_);
}

void TcpServer::RequestDrain() {
  const int saved_errno = errno;
  eventfd_write(drain_request_fd_, 1);
  errno = saved_errno;
}

}  // namespace brood::server

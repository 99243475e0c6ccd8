#include "brood/server/tcp_server.h"

#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <new>
#include <utility>

#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/proc/reaper.h"
#include "brood/server/deadlines.h"
#include "brood/server/stop_signals.h"
#include "brood/server/strategy/make_strategy.h"
#include "brood/server/strategy/strategy.h"

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
    if (options.peer_timeout != absl::ZeroDuration()) {
      absl::Status set = listener->SetPeerTimeout(options.peer_timeout);
      if (!set.ok()) return set;
    }
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

// The books are large, and mapped before anybody is served: a machine that has
// no room for them refuses the server, and not the program.
absl::StatusOr<std::unique_ptr<TcpServer>> TcpServer::Create(
    const Options& options, Handler handler) {
  try {
    return Make(options, std::move(handler));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("mmap: no memory for a server");
  }
}

absl::StatusOr<std::unique_ptr<TcpServer>> TcpServer::Make(
    const Options& options, Handler handler) {
  absl::Status valid = options.Validate();
  if (!valid.ok()) return valid;

  std::unique_ptr<TcpServer> server(new TcpServer);
  server->log_ = std::make_unique<EventLog>(options.log_level);
  CheckExitQueue(options, server->log_.get());

  // Not for children to inherit through exec, and above the standard ones.
  server->drain_request_ = net::Socket::AboveStandardDescriptors(
      net::Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
  if (!server->drain_request_.valid()) {
    return absl::ErrnoToStatus(errno, "eventfd");
  }
  // Signals first: one that comes while we bind must find the inbox.
  absl::optional<StopSignals> signals;
  if (options.take_signals) {
    absl::StatusOr<StopSignals> joined =
        StopSignals::Join(server->drain_request_.fd());
    if (!joined.ok()) return joined.status();
    signals.emplace(*std::move(joined));
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
  absl::StatusOr<std::vector<net::Listener>> listeners = ListenOnAll(options);
  if (!listeners.ok()) return listeners.status();
  for (const net::Listener& listener : *listeners) {
    server->endpoints_.push_back(listener.endpoint());
  }

  server->program_ = std::make_unique<ChildProgram>(
      std::move(handler), static_cast<size_t>(options.max_size),
      options.prepare_child, server->log_.get());
  absl::StatusOr<std::unique_ptr<Strategy>> strategy = MakeStrategy(
      options, reaper->get(), server->program_.get(), server->log_.get());
  if (!strategy.ok()) return strategy.status();
  absl::StatusOr<std::unique_ptr<Deadlines>> deadlines =
      Deadlines::Create(options, options.Capacity(), net::Now());
  if (!deadlines.ok()) return deadlines.status();
  server->supervisor_ = std::make_unique<Supervisor>(
      options, Supervisor::Parts{*std::move(listeners), std::move(signals),
                                 *std::move(reaper), *std::move(strategy),
                                 *std::move(deadlines), server->log_.get(),
                                 server->drain_request_.fd()});
  absl::Status started = server->supervisor_->Start();
  if (!started.ok()) return started;
  return server;
}

// The supervisor first: its children run the program and write to the log.
TcpServer::~TcpServer() { supervisor_.reset(); }

void TcpServer::RequestDrain() {
  const int saved_errno = errno;
  eventfd_write(drain_request_.fd(), 1);
  errno = saved_errno;
}

}  // namespace brood::server

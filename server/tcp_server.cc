#include "brood/server/tcp_server.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <new>
#include <utility>

#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/deadlines/deadlines.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/server/strategy/make_strategy.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/server/upgrade/upgrade.h"

namespace brood::server {
namespace {

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
  // First of all: they are ours, whatever goes wrong.
  std::vector<TakenOver> inherited = TakeOver(options);
  try {
    return Make(options, std::move(inherited), std::move(handler));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("mmap: no memory for a server");
  }
}

absl::StatusOr<std::unique_ptr<TcpServer>> TcpServer::Make(
    const Options& options, std::vector<TakenOver> inherited, Handler handler) {
  absl::Status valid = options.Validate();
  if (!valid.ok()) return valid;

  std::unique_ptr<TcpServer> server(new TcpServer);
  server->log_ = std::make_unique<EventLog>(options.log_level);
  CheckExitQueue(options, server->log_.get());

  absl::StatusOr<Requests> requests = Requests::Create();
  if (!requests.ok()) return requests.status();
  server->requests_.emplace(*std::move(requests));
  // Signals first: one that comes while we bind must find the inbox.
  absl::optional<RequestSignals> signals;
  if (options.take_signals) {
    absl::StatusOr<RequestSignals> joined =
        RequestSignals::Join(&*server->requests_);
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
  absl::StatusOr<absl::optional<Predecessor>> predecessor =
      options.upgrade_command.empty() ? absl::optional<Predecessor>()
                                      : Predecessor::Find();
  if (!predecessor.ok()) return predecessor.status();
  if (*predecessor) {
    for (HandedListener& handed : (*predecessor)->TakeListeners()) {
      inherited.push_back(
          {net::Socket::Adopt(handed.fd), std::move(handed.entry)});
    }
  }
  absl::StatusOr<Listeners> opened =
      OpenListeners(options, std::move(inherited), server->log_.get());
  if (!opened.ok()) return opened.status();
  for (const net::Listener& listener : opened->listeners) {
    server->endpoints_.push_back(listener.endpoint());
  }

  server->program_ = std::make_unique<ChildProgram>(
      std::move(handler), static_cast<size_t>(options.max_size),
      options.prepare_child, server->log_.get(), options.on_parent_death);
  absl::StatusOr<std::unique_ptr<Strategy>> strategy = MakeStrategy(
      options, reaper->get(), server->program_.get(), server->log_.get());
  if (!strategy.ok()) return strategy.status();
  absl::StatusOr<std::unique_ptr<Deadlines>> deadlines =
      Deadlines::Create(options, options.Capacity(), net::Now());
  if (!deadlines.ok()) return deadlines.status();
  std::unique_ptr<ServiceManager> service_manager;
  if (!options.notify_socket.empty()) {
    auto created =
        ServiceManager::Create(options.notify_socket, server->log_.get());
    if (!created.ok()) return created.status();
    service_manager = *std::move(created);
  }
  std::unique_ptr<Upgrade> upgrade;
  if (!options.upgrade_command.empty()) {
    auto created = Upgrade::Create(options, service_manager.get(),
                                   reaper->get(), server->log_.get());
    if (!created.ok()) return created.status();
    upgrade = *std::move(created);
  }
  server->supervisor_ = std::make_unique<Supervisor>(
      options,
      Supervisor::Parts{*std::move(opened), &*server->requests_,
                        std::move(signals), *std::move(reaper),
                        *std::move(strategy), *std::move(deadlines),
                        std::move(upgrade), *std::move(predecessor),
                        std::move(service_manager), server->log_.get()});
  absl::Status started = server->supervisor_->Start();
  if (!started.ok()) return started;
  return server;
}

// The supervisor first: its children run the program and write to the log.
TcpServer::~TcpServer() { supervisor_.reset(); }

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/tcp_server.h"

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <exception>
#include <new>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/net/unix_file/socket_file.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/child/child_settings.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/control/requests.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/deadlines/deadlines.h"
#include "brood/server/exec_handler.h"
#include "brood/server/listening/descriptor_guard.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/server/log/event_log.h"
#include "brood/server/log/event_writer.h"
#include "brood/server/process/child_budget.h"
#include "brood/server/process/process_report.h"
#include "brood/server/process/subreaper_claim.h"
#include "brood/server/report/handler_report.h"
#include "brood/server/strategy/make_strategy.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/upgrade/generation_link.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/server/upgrade/linked_generation.h"
#include "brood/server/upgrade/main_process.h"
#include "brood/server/upgrade/managed_generations.h"
#include "brood/server/upgrade/upgrade.h"
#include "brood/server/upgrade/upgrade_claim.h"

namespace brood::server {
namespace {

// Moves the value of `made` to `part`, or returns the error of `made`.
template <typename Made, typename Part>
absl::Status Keep(absl::StatusOr<Made> made, Part* part) {
  if (!made.ok()) return made.status();
  *part = *std::move(made);
  return absl::OkStatus();
}

}  // namespace

// Impl holds the components of a server, and assembles them. Children use the
// log and the program, so it is in ordinary memory; the supervisor is in
// parent-only memory.
class TcpServer::Impl final {
 public:
  static absl::StatusOr<std::unique_ptr<Impl>> Create(
      const Options& options, Handler handler,
      std::vector<InheritedListener> inherited);

  const std::vector<net::Endpoint>& endpoints() const { return endpoints_; }
  const Requests& requests() const { return requests_; }
  const EventLog& log() const { return log_; }
  Supervisor& supervisor() const { return *supervisor_; }

  // Returns whether this process created the server. If not, it was forked
  // since, and does not have the memory of the supervisor. Async-signal-safe.
  bool IsOurs() const { return getpid() == owner_; }

 private:
  Impl(const Options& options, Requests requests,
       std::unique_ptr<HandlerReports> reports, Handler handler);

  absl::Status Assemble(const Options& options,
                        std::vector<InheritedListener> inherited);
  // The steps of Assemble(), in its order. Each adds what it has created to
  // `parts`, and later steps use it.
  absl::Status ClaimUpgrades(const Options& options);
  absl::Status TakeSignals(const Options& options, Supervisor::Parts* parts);
  absl::Status OwnChildren(const Options& options, Supervisor::Parts* parts);
  absl::Status ReceiveListeners(const Options& options,
                                std::vector<InheritedListener>* inherited,
                                Supervisor::Parts* parts);
  absl::Status Listen(const Options& options,
                      std::vector<InheritedListener> inherited,
                      Supervisor::Parts* parts);
  absl::Status ChooseStrategy(const Options& options, Supervisor::Parts* parts);
  absl::Status SetDeadlines(const Options& options, Supervisor::Parts* parts);
  absl::Status PrepareUpgrades(const Options& options,
                               Supervisor::Parts* parts);

  const pid_t owner_ = getpid();
  EventLog log_;
  const Requests requests_;
  // Null if handlers do not report.
  const std::unique_ptr<HandlerReports> reports_;
  const ChildProgram program_;
  absl::optional<UpgradeClaim> upgrade_claim_;
  std::unique_ptr<SubreaperClaim> subreaper_claim_;
  std::unique_ptr<proc::Spawner> spawner_;
  std::vector<net::Endpoint> endpoints_;
  // Destroyed before the members above, because its children use them.
  std::unique_ptr<Supervisor> supervisor_;
  // The files of unix sockets that were bound, until Create() succeeds.
  // Destroyed first: the files are removed while their sockets are open.
  std::vector<net::NewSocketFile> new_files_;
};

TcpServer::Impl::Impl(const Options& options, Requests requests,
                      std::unique_ptr<HandlerReports> reports, Handler handler)
    : log_(LogSettings::From(options.log), ExecHandler::ProgramOf(handler)
                                               ? ExitCodes::kOfPrograms
                                               : ExitCodes::kOfHandlers),
      requests_(std::move(requests)),
      reports_(std::move(reports)),
      program_(std::move(handler),
               {static_cast<size_t>(options.max_size), options.linger},
               options.prepare_child, &log_, options.on_parent_death,
               reports_.get(), options.child_stderr,
               ChildHardening::For(options)) {}

absl::StatusOr<std::unique_ptr<TcpServer::Impl>> TcpServer::Impl::Create(
    const Options& options, Handler handler,
    std::vector<InheritedListener> inherited) {
  absl::Status valid = options.Validate();
  if (!valid.ok()) return valid;
  if (handler == nullptr) {
    return absl::InvalidArgumentError(
        "handler: must be a function, and is empty");
  }
  if (const auto* program = handler.target<ExecHandler>()) {
    valid = program->CheckServer(options);
    if (!valid.ok()) return valid;
  }
  // Destroyed last, if something fails: the descriptors are closed by then.
  absl::StatusOr<DescriptorGuard> guard =
      DescriptorGuard::Create(options, inherited);
  if (!guard.ok()) return guard.status();
  absl::StatusOr<Requests> requests = Requests::Create();
  if (!requests.ok()) return requests.status();
  // Before the first process is created.
  std::unique_ptr<HandlerReports> reports;
  if (options.handler_reports) {
    absl::Status mapped =
        Keep(HandlerReports::Create(PagesFor(options)), &reports);
    if (!mapped.ok()) return mapped;
  }
  std::unique_ptr<Impl> impl(new Impl(options, *std::move(requests),
                                      std::move(reports), std::move(handler)));
  absl::Status assembled = impl->Assemble(options, std::move(inherited));
  if (!assembled.ok()) return assembled;
  for (net::NewSocketFile& file : impl->new_files_) file.Keep();
  guard->Keep();
  return impl;
}

absl::Status TcpServer::Impl::Assemble(
    const Options& options, std::vector<InheritedListener> inherited) {
  ReportProcess(options, &log_);
  Supervisor::Parts parts;
  parts.log = &log_;
  parts.requests = &requests_;
  parts.reports = reports_.get();
  absl::Status made = ClaimUpgrades(options);
  // Takes signals early, so that a signal is not lost while the listeners are
  // being bound.
  if (made.ok()) made = TakeSignals(options, &parts);
  if (made.ok()) made = OwnChildren(options, &parts);
  if (made.ok()) made = ReceiveListeners(options, &inherited, &parts);
  if (made.ok()) made = Listen(options, std::move(inherited), &parts);
  if (made.ok()) made = ChooseStrategy(options, &parts);
  if (made.ok()) made = SetDeadlines(options, &parts);
  if (made.ok()) made = PrepareUpgrades(options, &parts);
  if (!made.ok()) return made;
  supervisor_ = std::make_unique<Supervisor>(options, std::move(parts));
  return supervisor_->Start();
}

absl::Status TcpServer::Impl::ClaimUpgrades(const Options& options) {
  if (options.upgrade.command.empty()) return absl::OkStatus();
  absl::optional<UpgradeClaim> claim = UpgradeClaim::TryMake();
  if (!claim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "upgrade.command=", absl::CHexEscape(options.upgrade.command.front()),
        ": must be empty, because another server of this process has one"));
  }
  upgrade_claim_.emplace(*std::move(claim));
  return absl::OkStatus();
}

absl::Status TcpServer::Impl::TakeSignals(const Options& options,
                                          Supervisor::Parts* parts) {
  if (!options.take_signals) return absl::OkStatus();
  absl::StatusOr<RequestSignals> joined =
      RequestSignals::Join(&requests_, options.upgrade.command.empty()
                                           ? RequestSignals::kStop
                                           : RequestSignals::kStopAndUpgrade);
  if (!joined.ok()) return joined.status();
  parts->signals = *std::move(joined);
  return absl::OkStatus();
}

absl::Status TcpServer::Impl::OwnChildren(const Options& options,
                                          Supervisor::Parts* parts) {
  if (options.init) {
    absl::Status claimed = Keep(SubreaperClaim::Make(), &subreaper_claim_);
    if (!claimed.ok()) return claimed;
  }
  return Keep(proc::Reaper::Create(options.owns_all_children || options.init
                                       ? proc::Reaper::Ownership::kEveryChild
                                       : proc::Reaper::Ownership::kOursAlone,
                                   MostChildren(options)),
              &parts->reaper);
}

// Adds the listeners of the program that this one replaces to `inherited`.
absl::Status TcpServer::Impl::ReceiveListeners(
    const Options& options, std::vector<InheritedListener>* inherited,
    Supervisor::Parts* parts) {
  if (options.upgrade.command.empty()) return absl::OkStatus();
  absl::Status received = Keep(Handshake::Receive(), &parts->handshake);
  for (InheritedListener& listener : parts->handshake.TakeListeners()) {
    inherited->push_back(std::move(listener));
  }
  return received;
}

absl::Status TcpServer::Impl::Listen(const Options& options,
                                     std::vector<InheritedListener> inherited,
                                     Supervisor::Parts* parts) {
  absl::Status opened = Keep(
      OpenListeners(options, std::move(inherited), &log_), &parts->listeners);
  for (OpenedListener& each : parts->listeners) {
    endpoints_.push_back(each.socket.endpoint());
    new_files_.push_back(std::move(each.new_file));
  }
  return opened;
}

absl::Status TcpServer::Impl::ChooseStrategy(const Options& options,
                                             Supervisor::Parts* parts) {
  const proc::ChildSettings settings = SettingsOfChildren(options);
  absl::StatusOr<proc::CloneSpawner> spawner =
      proc::CloneSpawner::Create(parts->reaper->exit_signal(), settings);
  if (!spawner.ok()) return spawner.status();
  spawner_ = std::make_unique<proc::CloneSpawner>(*std::move(spawner));
  return Keep(
      MakeStrategy(options,
                   {spawner_.get(), parts->reaper.get(), &program_, &log_,
                    settings, ExecHandler::ProgramOf(program_.handler())}),
      &parts->strategy);
}

absl::Status TcpServer::Impl::SetDeadlines(const Options& options,
                                           Supervisor::Parts* parts) {
  std::vector<const net::Listener*> listeners;
  for (const OpenedListener& each : parts->listeners) {
    listeners.push_back(&each.socket);
  }
  return Keep(Deadlines::Create(options, options.Capacity(), net::Now(),
                                listeners, &log_),
              &parts->deadlines);
}

// Creates what an upgrade needs, and the connection to the service manager,
// which is notified of the start and of the stop without an upgrade as well. As
// PID 1 this process stays in any case, because all processes of its namespace
// end with it.
absl::Status TcpServer::Impl::PrepareUpgrades(const Options& options,
                                              Supervisor::Parts* parts) {
  absl::Status made = Keep(ServiceManager::Create(options.notify_socket, &log_),
                           &parts->service_manager);
  if (!made.ok()) return made;
  ServiceManager* const manager = parts->service_manager.get();
  proc::Reaper* const reaper = parts->reaper.get();
  GenerationLink link = parts->handshake.TakeLink();
  if (!link.closed()) {
    parts->generations = std::make_unique<LinkedGeneration>(std::move(link));
  } else if (!options.notify_socket.empty() && getpid() != 1) {
    parts->generations = std::make_unique<ManagedGenerations>(
        options, parts->handshake.TakeOlder(), manager, reaper, &log_);
  } else {
    parts->generations =
        std::make_unique<MainProcess>(options, manager, reaper, &log_);
  }
  return Keep(
      Upgrade::Create(options, manager, parts->generations.get(), &log_),
      &parts->upgrade);
}

// Catches bad_alloc: the tables of the supervisor are large, and mapped before
// any connection is served. If there is no memory for them, no server is
// created, and the program goes on.
absl::StatusOr<std::unique_ptr<TcpServer>> TcpServer::Create(
    const Options& options, Handler handler,
    std::vector<InheritedListener> inherited) {
  try {
    absl::StatusOr<std::unique_ptr<Impl>> impl =
        Impl::Create(options, std::move(handler), std::move(inherited));
    if (!impl.ok()) return impl.status();
    return std::unique_ptr<TcpServer>(new TcpServer(*std::move(impl)));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "mmap or madvise: no memory for a server");
  } catch (const std::exception& exception) {
    // Code of Brood throws no other exception.
    return absl::InternalError(absl::StrCat(
        "a function of Options threw an exception when it was copied: ",
        exception.what()));
  } catch (...) {
    return absl::InternalError(
        "a function of Options threw when it was copied");
  }
}

TcpServer::TcpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

// In a process that was forked since Create(), the members are not destroyed:
// their destructors would act on children, files and signals of the process
// that created them.
TcpServer::~TcpServer() {
  if (impl_->IsOurs()) return;
  static std::atomic<Impl*> abandoned;  // so that no tool reports a leak
  abandoned = impl_.release();
}

const std::vector<net::Endpoint>& TcpServer::endpoints() const {
  return impl_->endpoints();
}

absl::Status TcpServer::CheckOurs(const char* call) const {
  if (impl_->IsOurs()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      call,
      ": another process created this server, and fork copied the object; "
      "call daemon() and fork() before TcpServer::Create()"));
}

absl::Status TcpServer::Run() {
  absl::Status ours = CheckOurs("Run");
  return ours.ok() ? impl_->supervisor().Run() : ours;
}

absl::StatusOr<bool> TcpServer::Step(absl::Duration timeout) {
  absl::Status ours = CheckOurs("Step");
  if (!ours.ok()) return ours;
  return impl_->supervisor().Step(timeout);
}

absl::StatusOr<int> TcpServer::PollableFd() {
  absl::Status ours = CheckOurs("PollableFd");
  if (!ours.ok()) return ours;
  return impl_->supervisor().PollableFd();
}

void TcpServer::RequestDrain() {
  if (impl_->IsOurs()) impl_->requests().RequestStop();
}

void TcpServer::RequestUpgrade() {
  if (impl_->IsOurs()) impl_->requests().RequestUpgrade();
}

uint64_t TcpServer::upgrades_failed() const {
  return impl_->IsOurs() ? impl_->supervisor().upgrades_failed() : 0;
}

bool TcpServer::handed_over() const {
  return impl_->IsOurs() && impl_->supervisor().handed_over();
}

absl::optional<proc::ExitStatus> TcpServer::last_generation_status() const {
  if (!impl_->IsOurs()) return absl::nullopt;
  return impl_->supervisor().last_status();
}

absl::Status TcpServer::BeginGeneration() {
  absl::Status ours = CheckOurs("BeginGeneration");
  return ours.ok() ? impl_->supervisor().BeginGeneration() : ours;
}

const Totals& TcpServer::totals() const {
  static const Totals none;
  return impl_->IsOurs() ? impl_->supervisor().totals() : none;
}

uint64_t TcpServer::log_lines_dropped() const {
  return impl_->IsOurs() ? impl_->log().dropped() : 0;
}

}  // namespace brood::server

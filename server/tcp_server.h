// TcpServer: a process-per-connection TCP server, for a program to embed.
//
// Lives in the parent. Create() binds and listens, so that clients may connect
// from then on; Run() gives each of them a child process, which runs the
// handler and exits. Descriptors, signals and children of the embedder are left
// alone (see Options for the signals and proc/reaper.h for the children), and
// several servers in one process leave each other alone.
//
// Threads. Create() is for a process that has none yet; it may start some
// afterwards if the strategy is "zygote" or "auto", which fork from a process
// that Create() makes: the handler then sees the program as it was at Create().
// With the others the process must be single-threaded while the server runs.
// The thread that calls Create() must live as long as the server if children
// are to die with it (Options::on_parent_death): to the kernel, the zygote's
// children are that thread's.
// All calls but RequestDrain() are for one thread at a time.
//
// A program with an event loop of its own need not call Run(): it polls
// PollableFd() and calls Step(), which never blocks, when it is readable.
//
// Errors: Create() gives InvalidArgument for a bad option, and otherwise the
// call and the endpoint ("bind 127.0.0.1:80: Permission denied"); it throws
// nothing. Run() and
// Step() give FailedPrecondition in a process that has threads, and Unavailable
// when every listener is dead.
//
// Example:
//   Options options;
//   options.listen = {"127.0.0.1:7000"};
//   auto server = TcpServer::Create(options, [](net::Connection& connection) {
//     return net::WriteFull(connection.socket(), "hello\n").ok()
//                ? ExitCode::kServed
//                : ExitCode::kPeerLost;
//   });
//   if (!server.ok()) return server.status();
//   return (*server)->Run();  // until SIGTERM or RequestDrain()

#ifndef BROOD_SERVER_TCP_SERVER_H_
#define BROOD_SERVER_TCP_SERVER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/endpoint.h"
#include "brood/server/child/child_program.h"
#include "brood/server/control/requests.h"
#include "brood/server/handler.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/totals.h"

namespace brood::server {

class TcpServer {
 public:
  static absl::StatusOr<std::unique_ptr<TcpServer>> Create(
      const Options& options, Handler handler);
  // Children that still live are killed.
  ~TcpServer();

  // Where it listens, in the order of the options, with the ports that the
  // kernel chose.
  const std::vector<net::Endpoint>& endpoints() const { return endpoints_; }

  // Serves until it was told to stop and the last child has ended.
  absl::Status Run() { return supervisor_->Run(); }

  // One turn of the loop: does a bounded piece of the work that there is; waits
  // for some, `patience` at most, if there is none. False once stopped.
  absl::StatusOr<bool> Step(absl::Duration patience = absl::ZeroDuration()) {
    return supervisor_->Step(patience);
  }
  // Readable when Step() has something to do. It stays the server's: poll it,
  // do not read or close it.
  absl::StatusOr<int> PollableFd() { return supervisor_->PollableFd(); }

  // Asks the server to stop, as the first SIGTERM does; the second call stops
  // it at once. Safe in a signal handler and in any thread.
  void RequestDrain() { requests_->AskToDrain(); }

  // Asks it to let a new program take over, as SIGUSR2 does; see
  // Options::upgrade_command. Safe in a signal handler and in any thread.
  void RequestUpgrade() { requests_->AskToUpgrade(); }
  // How often that failed, for whatever reason; the log says which.
  uint64_t upgrades_failed() const { return supervisor_->upgrades_failed(); }

  // State that handlers use has changed in this process: connections accepted
  // from now on are given to processes made from now on, and none to a spare or
  // a worker that was forked before. Unimplemented for "zygote", whose state is
  // that of Create().
  absl::Status BeginGeneration() { return supervisor_->BeginGeneration(); }

  // How many connections there were, and what became of them.
  const Totals& totals() const { return supervisor_->totals(); }
  // Log lines that could not be written.
  uint64_t log_lines_dropped() const { return log_->dropped(); }

 private:
  TcpServer() = default;

  static absl::StatusOr<std::unique_ptr<TcpServer>> Make(
      const Options& options, std::vector<TakenOver> inherited,
      Handler handler);

  std::vector<net::Endpoint> endpoints_;
  std::unique_ptr<EventLog> log_;
  absl::optional<Requests> requests_;
  std::unique_ptr<ChildProgram> program_;
  std::unique_ptr<Supervisor> supervisor_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_TCP_SERVER_H_

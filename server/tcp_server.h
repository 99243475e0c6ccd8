// TcpServer: a process-per-connection TCP server, for a program to embed.
//
// Lives in the parent. Create() binds and listens, so that clients may connect
// from then on; Run() forks a child for each of them, which runs the handler
// and exits. The process must be single-threaded while the server runs.
// Descriptors, signals and children of the embedder are left alone (see Options
// for the signals and proc/reaper.h for the children).
//
// Errors: Create() gives InvalidArgument for a bad option, and otherwise the
// call and the endpoint ("bind 127.0.0.1:80: Permission denied"). Run() gives
// FailedPrecondition in a process that has threads, and Unavailable when every
// listener is dead.
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

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/server/event_log.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/scoreboard.h"
#include "brood/server/supervisor.h"

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

  // One turn of the loop, for a program that has more to do: waits for work,
  // `patience` at most, and does a bounded piece of it. False once stopped.
  absl::StatusOr<bool> Step(absl::Duration patience) {
    return supervisor_->Step(patience);
  }

  // Asks the server to stop, as the first SIGTERM does; the second call stops
  // it at once. Safe in a signal handler and in any thread.
  void RequestDrain();

  const Totals& totals() const { return supervisor_->totals(); }
  // Log lines that could not be written.
  uint64_t log_lines_dropped() const { return log_->dropped(); }

 private:
  TcpServer() = default;

  std::vector<net::Endpoint> endpoints_;
  std::unique_ptr<EventLog> log_;
  int drain_request_fd_ = -1;
  std::unique_ptr<Supervisor> supervisor_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_TCP_SERVER_H_

// SPDX-License-Identifier: Apache-2.0

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
#include "brood/proc/exit_status.h"
#include "brood/server/handler.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"

namespace brood::server {

// TcpServer is a process-per-connection TCP server, for a program to embed. It
// runs in the parent: Create() binds and listens, and Run() gives each
// connection a child, which runs the handler and exits. docs/embedding.md
// describes what it does to descriptors, signals and children of the embedder,
// and how several servers share a process. All calls but the two requests are
// for one thread at a time. Errors name the call and its object: "bind
// 127.0.0.1:80: Permission denied". In a process that was forked since then,
// the object does nothing; see Create().
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
class TcpServer final {
 public:
  // Returns a server that listens: clients can connect from then on. Throws
  // nothing. Errors: InvalidArgument for a bad option, an empty `handler` and a
  // second server with an upgrade command; FailedPrecondition for a deadline
  // that cannot be kept here (docs/deploying.md); ResourceExhausted if there is
  // no memory; Internal, with the message of the exception, if the copy
  // constructor of a function of `options` throws; otherwise the status of the
  // call that failed.
  //
  // `inherited` are listeners that exist already, for the entries of
  // Options::listen that mean them. They belong to the server from this call
  // on, whether it succeeds or not; listeners that no entry means are closed.
  //
  // Each server uses one real-time signal, by which its children report their
  // end, and blocks it: the highest one that this process does not handle. A
  // signal that is blocked or ignored is chosen only if there is no other. A
  // process can have a server for each free real-time signal, about 30 at most.
  //
  // Children do not report by SIGCHLD, so wait(), waitpid() and waitid() of the
  // embedder do not return them. There are two exceptions: the calls return
  // them with __WALL or __WCLONE, and a handler that executes a program makes
  // its process report by SIGCHLD. If the embedder waits for such a process,
  // its exit status is lost: the connection is counted in Totals::unknown, and
  // nothing else is lost.
  //
  // The process must have no threads, and stay without them while the server
  // runs. With the strategies kZygote and kAuto, whose children are forked by a
  // process that Create() makes, it may start threads after Create(): the
  // handler then sees the program as it was at Create(). If children are to end
  // with the server (Options::on_parent_death), the calling thread must live as
  // long as the server: the kernel treats the end of the thread as the end of
  // the parent.
  //
  // A server belongs to the process that called Create(). In a process that was
  // forked since, by fork() or daemon() of the embedder, Run(), Step(),
  // PollableFd() and BeginGeneration() return FailedPrecondition, requests and
  // the destructor do nothing, and counts are 0.
  static absl::StatusOr<std::unique_ptr<TcpServer>> Create(
      const Options& options, Handler handler,
      std::vector<InheritedListener> inherited = {});
  // Kills and reaps the children that are still alive. Leaves children that
  // cannot be killed, as a stop does; see docs/deploying.md.
  ~TcpServer();

  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  // Returns where the server listens, in the order of Options::listen, with the
  // ports that the kernel chose.
  const std::vector<net::Endpoint>& endpoints() const;

  // Serves until a stop is requested, and returns when the last child has
  // ended; after an upgrade, when the last program of the service has ended
  // (see handed_over()). Returns FailedPrecondition if the process has threads
  // (see Create()), and Unavailable if every listener has failed, or if the
  // program that served in place of this one ended although no stop was
  // requested.
  absl::Status Run();

  // Runs one turn of the loop, for a program with an event loop of its own:
  // waits up to `timeout` for something to do, and does a bounded part of it.
  // Returns false once the server has stopped. Errors: those of Run().
  absl::StatusOr<bool> Step(absl::Duration timeout = absl::ZeroDuration());
  // Returns a descriptor that is readable when Step() has something to do. It
  // belongs to the server: poll it, do not read or close it.
  absl::StatusOr<int> PollableFd();

  // Requests a stop, as the first SIGTERM does; the second call stops the
  // server at once. Safe in a signal handler and in any thread.
  void RequestDrain();

  // Requests an upgrade, as SIGUSR2 does; see Options::upgrade. Safe in
  // a signal handler and in any thread.
  void RequestUpgrade();
  // Returns how many upgrades failed; the log has the reasons.
  uint64_t upgrades_failed() const;

  // Announces that state which handlers use has changed in this process:
  // connections accepted from now on are served by processes created from now
  // on, and not by a spare or a worker that was forked before. Returns
  // Unimplemented for kZygote, whose children have the state of Create().
  absl::Status BeginGeneration();

  // Returns whether another program has taken over, so that this one accepts no
  // more connections. Unless a service manager was notified of the other
  // program (Options::notify_socket), this process stays until the last program
  // of the service has ended, and passes requests on to them. So it is the
  // process to stop and to wait for, however many upgrades there were.
  bool handed_over() const;
  // Returns how the last program that served in place of this one ended;
  // nothing if there was none. The embedder may repeat it as its own exit code.
  absl::optional<proc::ExitStatus> last_generation_status() const;

  // Returns how many connections there were, by outcome.
  const Totals& totals() const;
  // Returns how many log lines could not be written.
  uint64_t log_lines_dropped() const;

 private:
  class Impl;

  // Takes ownership of `impl`, which listens already.
  explicit TcpServer(std::unique_ptr<Impl> impl);

  // Returns FailedPrecondition, which names `call`, unless this process created
  // the server.
  absl::Status CheckOurs(const char* call) const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_TCP_SERVER_H_

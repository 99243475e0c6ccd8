// Options: what an embedder decides about a server, with units in the types.
//
// A value of the parent's, read once when the server is created; the two
// functions in it are copied, and what they refer to must outlive the server,
// which owns the descriptors in it from then on.
// The names are those of the standalone server's flags.
//
// Errors: Validate() gives InvalidArgument for the first bad field, as
// "max_connections=0: must be 1 to 1000000".
//
// Example:
//   Options options;
//   options.listen = {"127.0.0.1:7000", "[::1]:7000"};
//   options.max_connections = 200;

#ifndef BROOD_SERVER_OPTIONS_H_
#define BROOD_SERVER_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/server/connection_report.h"

namespace brood::server {

enum class LogLevel { kInfo, kWarning, kError, kOff };

// A descriptor that listens already: that of a service manager (see
// server/socket_activation.h), or of a program that this one replaces.
struct InheritedListener {
  int fd;
  // The entry of Options::listen that it served there; empty if nobody knows.
  std::string listen_entry;
};

// What children do when the server's process is killed:
//   kFinish  those that have a connection, or one that waits for them, serve it
//            to its end, with nobody to enforce a deadline; the others end
//   kDie     all are killed with it
enum class OnParentDeath { kFinish, kDie };

struct Options {
  // Where to listen. At least one of
  //   an endpoint   127.0.0.1:7000, unix:/run/x.sock: see net/endpoint.h
  //   fd:N          the listening descriptor with this number, which becomes
  //                 the server's
  //   inherited     those of `inherited` that no other entry means
  std::vector<std::string> listen = {"127.0.0.1:7000"};
  // What there is to listen with already. It serves the entries of `listen`
  // that mean it (server/listeners.h says how that is found), before anything
  // is bound for them; one that none of them means is closed. From Create() on
  // the descriptors are the server's, whether it succeeds or not.
  std::vector<InheritedListener> inherited;
  // Where a service manager wants to hear that the server is ready, and that it
  // stops: the value of NOTIFY_SOCKET, or empty. See server/service_manager.h.
  std::string notify_socket;
  // Permissions of the file of a unix socket: who may write to it may connect.
  int unix_mode = 0600;
  // How processes are made:
  //   "fork"    one for each connection, after accept
  //   "spares"  one for each connection, forked before it comes: the same
  //             isolation, with the cost of the fork off the client's path
  //   "pool"    reused: the fastest, and the next connection's process may be
  //             one that served others
  //   "zygote"  one for each connection, forked from a small process that was
  //             made by Create(): for programs with threads or much memory
  //   "auto"    "zygote" if the process has threads, or more memory than
  //             kLargestToFork, when it begins to serve; else "fork"
  // All but "zygote" need a process without threads; see TcpServer.
  std::string strategy = "fork";
  // "spares": how many wait for a connection, and how many may when they were
  // too few.
  int min_spares = 4;
  int max_spares = 32;
  // "pool": how many processes there are, and how many connections each serves,
  // more or less by a quarter, before it is replaced.
  int workers = 16;
  int max_connections_per_worker = 1000;
  // Bytes that a child takes from its client at a time.
  int max_size = 1024;
  // Children alive at once. When they are, nobody is turned away: the listeners
  // rest, and clients wait in the kernel's queue.
  int max_connections = 1000;
  // Length of that queue; 0 for the longest that the machine allows.
  int backlog = 0;
  // From the request to stop until children are terminated, then killed.
  absl::Duration drain_grace = absl::Seconds(10);
  // When a child is killed for the sake of others; zero for never. See
  // server/deadlines.h.
  //   first_byte  the client has sent nothing since it was accepted
  //   idle        nothing came and nothing went for this long
  //   connection  it has lasted this long, whatever it does
  // On unix sockets there is the last kind alone.
  absl::Duration first_byte_timeout = absl::ZeroDuration();
  absl::Duration idle_timeout = absl::ZeroDuration();
  absl::Duration connection_timeout = absl::ZeroDuration();
  // How long a silent client may be gone from the network (no power, no cable)
  // before the connection ends with an error; zero for the kernel's defaults,
  // some hours. Rounded to seconds. The kernel does the same to one that lives
  // and for so long takes nothing of what it is sent; where it does not, 0.4 s
  // later, the child is killed. On unix sockets it has no meaning.
  absl::Duration peer_timeout = absl::ZeroDuration();
  // With what to start this program anew, when SIGUSR2 or SIGHUP comes or
  // RequestUpgrade() is called: its path, then its arguments (OwnCommand() of
  // server/own_command.h knows them). The new program is handed the listening
  // descriptors, serves, and this one drains; see server/upgrade.h. Empty:
  // there are no upgrades. For one server of a process.
  std::vector<std::string> upgrade_command;
  // How long it may take to be ready to accept.
  absl::Duration upgrade_timeout = absl::Seconds(30);
  // See above. To die costs a child two system calls. With it, and the strategy
  // "zygote" or "auto", the thread that calls Create() must live as long as the
  // server: the kernel takes its end for the parent's. Children that change
  // their user must do so in prepare_child, for a later change makes the kernel
  // forget; and a server that gives up being root must do so before Create().
  OnParentDeath on_parent_death = OnParentDeath::kFinish;
  // The log is standard error. An embedder that wants silence says kOff.
  LogLevel log_level = LogLevel::kInfo;
  // Whether Run() takes SIGTERM and SIGINT as requests to stop, and SIGHUP and
  // SIGUSR2 as requests to upgrade. If not, they stay with the embedder, who
  // calls RequestDrain() and RequestUpgrade().
  bool take_signals = true;
  // Whether every child of this process is this server's, as in the standalone
  // one. See proc/reaper.h. Leave it off in a program that has children too.
  bool owns_all_children = false;
  // Adopt and bury orphans of this process's children, as PID 1 of a container
  // must. Implies owns_all_children.
  bool init = false;

  // Runs in each child before its first connection: the place to seed a PRNG
  // anew or to drop privileges. If it fails, or throws, the child ends with
  // ExitCode::kSystemRefused; the connection it had is closed.
  std::function<absl::Status()> prepare_child;
  // Called in the parent, in its loop, when the process of a connection ended.
  std::function<void(const ConnectionReport&)> on_connection_end;

  // "auto": more resident memory than this is too much to fork for each
  // connection. Measured: see server/DESIGN.md.
  static constexpr int64_t kLargestToFork = int64_t{4} << 20;

  absl::Status Validate() const;
  // Whether the deadlines can be kept on a listener at `endpoint`: the kernel
  // does not tell when bytes moved on a unix socket.
  absl::Status CheckDeadlinesOn(const net::Endpoint& endpoint) const;
  // How many connections may be served at once: max_connections, or the workers
  // of a pool if these are fewer.
  size_t Capacity() const;
};

// "info", "warning", "error" or "off".
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view text);
// "finish" or "die".
absl::StatusOr<OnParentDeath> ParseOnParentDeath(absl::string_view text);

}  // namespace brood::server

#endif  // BROOD_SERVER_OPTIONS_H_

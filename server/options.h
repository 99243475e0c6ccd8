// SPDX-License-Identifier: Apache-2.0

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
#include "brood/server/log_level.h"
#include "brood/server/strategy_kind.h"

namespace brood::server {

// OnParentDeath is what children do when the process of the server is killed.
enum class OnParentDeath {
  // A child that has a connection, or for which a connection is queued, serves
  // it to its end, and no deadline applies any more. The other children end.
  kFinish,
  // All children are killed with the server.
  kDie,
};

// ChildGroup is the process group in which children run.
enum class ChildGroup {
  // Each child has a group of its own. Signals for the group of the server, as
  // Ctrl-C in a terminal sends them, do not reach it.
  kOwn,
  // Each child has a session of its own as well: it has no terminal.
  kSession,
  // Children run in the group of the server.
  kInherit,
};

// UnixDeadlines is what happens to the deadlines that a connection by a unix
// socket cannot have, because the kernel does not report when bytes moved on
// it.
enum class UnixDeadlines {
  // A server with a unix listener and such a deadline is refused.
  kRefuse,
  // Connections by unix sockets have deadlines.connection alone.
  kConnectionOnly,
};

// Returns "finish" or "die", as the flag spells it.
absl::string_view NameOf(OnParentDeath choice);
// Returns "group", "session" or "inherit".
absl::string_view NameOf(ChildGroup choice);
// Returns "refuse" or "connection_only".
absl::string_view NameOf(UnixDeadlines choice);

// Returns the choice whose name is exactly `text`. Returns InvalidArgument,
// with the names that are allowed, if there is none.
absl::StatusOr<OnParentDeath> ParseOnParentDeath(absl::string_view text);
// Does the same for ChildGroup.
absl::StatusOr<ChildGroup> ParseChildGroup(absl::string_view text);
// Does the same for UnixDeadlines.
absl::StatusOr<UnixDeadlines> ParseUnixDeadlines(absl::string_view text);

// Options are the settings of a server.
//
// Lives in the parent and is read once, by TcpServer::Create(). A value: it can
// be copied and owns no descriptor. The objects to which its functions refer
// must outlive the server.
//
// A timeout of zero is off. The flags of the standalone server set these
// fields; see server/command_line/flags.h.
//
// Errors: Validate() names the first bad field as it is spelled here, its value
// and what is allowed: "spares.min=0: must be 1 to 100000".
//
// Example:
//   Options options;
//   options.listen = {"127.0.0.1:7000", "[::1]:7000"};
//   options.max_connections = 200;
//   options.strategy = StrategyKind::kSpares;
//   options.spares.min = 8;
//   options.deadlines.idle = absl::Minutes(5);
struct Options {
  // --------------------------------------------------------------------------
  // Listening

  // Says where to listen. Each entry is one of
  //   an endpoint   127.0.0.1:7000, unix:/run/x.sock; see net/endpoint.h
  //   fd:N          the listening descriptor N, which the server then owns
  //   inherited     the inherited listeners that no other entry means
  // An inherited listener (see TcpServer::Create()) serves the entry that means
  // it; server/listening/open_listeners.h has the order of the search.
  //
  // REQUIRES: at least one entry.
  // Default: 127.0.0.1:7000.
  std::vector<std::string> listen = {"127.0.0.1:7000"};

  // Sets the permissions of the file of a unix socket. A process that may write
  // to the file may connect. The file of a socket of a service manager keeps
  // its permissions.
  //
  // Default: 0600. Range: 0000 to 0777.
  int unix_mode = 0600;

  // Sets the length of the kernel's queue of connections; 0 is the longest that
  // the machine allows (net.core.somaxconn). A listener of a service manager
  // keeps its length.
  //
  // Default: 0. Range: 0 to 2^20 connections.
  int backlog = 0;

  // --------------------------------------------------------------------------
  // Processes, with every strategy

  // Chooses how connections get their processes.
  //
  // Default: StrategyKind::kFork.
  StrategyKind strategy = StrategyKind::kFork;

  // Limits how many children serve connections at once. At the limit the server
  // does not accept, and clients wait in the queue of the kernel.
  //
  // Default: 1000. Range: 1 to 1000000 children.
  int max_connections = 1000;

  // Sets how many bytes a child reads at a time while it discards what a client
  // sends after the reply, and in the standalone echo handler.
  //
  // Default: 1024. Range: 1 to 2^24 bytes.
  int max_size = 1024;

  // Limits how long a child discards what its client still sends after the
  // handler has returned; see server/handler.h. Zero closes at once.
  //
  // Default: 2 s. Range: 0 to 1 hour.
  absl::Duration linger = absl::Seconds(2);

  // Makes the server reap every child of this process, as the standalone
  // program does; see proc/reaper.h. Leave it off in a program that has other
  // children.
  //
  // Default: false.
  bool owns_all_children = false;

  // Adopts and reaps orphans among the descendants of this process, as PID 1 of
  // a container must. Implies owns_all_children.
  //
  // Default: false.
  bool init = false;

  // Chooses the process group of children. A child that leads a group is
  // signalled together with the processes that it started: a deadline, the end
  // of the grace and a forced stop end them too. They do not end a process that
  // has left the group by setsid() or setpgid(), nor processes that a handler
  // leaves running when it returns. The group of a pool's worker spans its
  // connections.
  //
  // kInherit is for a program that a terminal controls together with its
  // children. Ctrl-C then ends the children at once, kill(0, ...) in a handler
  // reaches the server, and a deadline ends the child alone. kSession: 35 us.
  //
  // Default: ChildGroup::kOwn.
  ChildGroup children = ChildGroup::kOwn;

  // Runs in each child before its first connection: the place to seed a random
  // generator or to drop privileges. If it returns an error or throws, the
  // child ends with ExitCode::kSystemRefused and its connection is closed.
  //
  // Default: does nothing.
  std::function<absl::Status()> prepare_child;

  // Says how children are protected from each other, and the server from them.
  HardeningOptions hardening;

  // --------------------------------------------------------------------------
  // Strategy kSpares

  // Sizes the set of children that are forked ahead. The number of idle
  // children grows from `min` to `max` while connections find none idle.
  struct Spares {
    // Sets how many children wait for a connection at least.
    //
    // Default: 4. Range: 1 to 100000 children.
    int min = 4;

    // Limits how many children wait for a connection.
    //
    // Default: 32. Range: `min` to 100000 children.
    int max = 32;
  };

  // Applies to StrategyKind::kSpares only.
  Spares spares;

  // --------------------------------------------------------------------------
  // Strategy kPool

  // Sizes the set of workers, and says when one is replaced.
  struct Pool {
    // Sets how many workers there are. Connections beyond it wait.
    //
    // Default: 16. Range: 1 to 100000 workers.
    int workers = 16;

    // Sets how many connections a worker serves before it is replaced. Each
    // worker varies this by up to a quarter, so that they are not all replaced
    // together.
    //
    // Default: 1000. Range: 1 to 1000000 connections.
    int max_connections = 1000;
  };

  // Applies to StrategyKind::kPool only.
  Pool pool;

  // --------------------------------------------------------------------------
  // Deadlines

  // Ends connections that take too long: the parent kills the child. Create()
  // refuses one that cannot be kept; see docs/deploying.md. Zero turns it off.
  struct Deadlines {
    // Ends a connection on which the client has sent nothing for this long
    // since it was accepted. With a unix socket see unix_deadlines.
    //
    // Default: 0 (off). Range: 0, or 1 ms to 365 days.
    absl::Duration first_byte = absl::ZeroDuration();

    // Ends a connection on which no byte was received or sent for this long,
    // and whose process used no processor time in the second half of this time.
    // So a handler that computes while its client waits is not idle. A handler
    // that sleeps, or waits for a disk, for another server or for a program
    // that it started, is idle, unless it wakes up now and then, for example
    // for a timer. A handler that has just finished computing has half of this
    // time left. With a unix socket see unix_deadlines.
    //
    // Default: 0 (off). Range: 0, or 1 ms to 365 days.
    absl::Duration idle = absl::ZeroDuration();

    // Ends a connection this long after it was accepted, whatever it does.
    //
    // Default: 0 (off). Range: 0, or 1 ms to 365 days.
    absl::Duration connection = absl::ZeroDuration();

    // Ends a connection whose peer is unreachable, or acknowledges none of the
    // data sent to it, for this long (TCP keepalive and TCP_USER_TIMEOUT, in
    // whole seconds). If the kernel has not acted 0.4 s later, the child is
    // killed. Has no effect on unix sockets.
    //
    // Default: 0 (keepalive with the times of the kernel, some hours). Range:
    // 0, or 1 s to 9 hours.
    absl::Duration peer = absl::ZeroDuration();
  };

  // Applies to every strategy.
  Deadlines deadlines;

  // Chooses what deadlines.first_byte and deadlines.idle mean for unix sockets:
  // TcpServer::Create() returns an error that names the deadline, or
  // connections by unix sockets have deadlines.connection alone. Other
  // connections have every deadline in any case.
  //
  // Default: UnixDeadlines::kRefuse.
  UnixDeadlines unix_deadlines = UnixDeadlines::kRefuse;

  // --------------------------------------------------------------------------
  // Stopping

  // Sets the time from the request to stop until the children that are still
  // running are terminated, and later killed. An upgrade does not begin this
  // time.
  //
  // Default: 8 s. Range: 0 to 24 hours.
  absl::Duration drain_grace = absl::Seconds(8);

  // Says what children do when the process of the server is killed. kDie costs
  // two system calls for each child, and has three conditions:
  // - With kZygote or kAuto, the thread that calls Create() must live as long
  //   as the server: the kernel treats its end as the death of the parent.
  // - A child that changes its user must do so in prepare_child: a later change
  //   makes the kernel forget the setting.
  // - A server that gives up being root must do so before Create().
  //
  // Default: OnParentDeath::kFinish.
  OnParentDeath on_parent_death = OnParentDeath::kFinish;

  // Makes Run() treat SIGTERM and SIGINT as requests to stop and, if `upgrade`
  // has a command, SIGHUP and SIGUSR2 as requests to upgrade. A signal that is
  // ignored when the server is created stays ignored. If false, the embedder
  // handles these signals, and calls RequestDrain() and RequestUpgrade().
  //
  // Default: true.
  bool take_signals = true;

  // --------------------------------------------------------------------------
  // Upgrading

  // Says how a new program replaces this one; see server/upgrade/upgrade.h.
  // Only one server of a process may have a command, because the new program
  // receives the listeners of one server only: TcpServer::Create() refuses a
  // second one.
  struct Upgrade {
    // Starts the new program: its absolute path, then its arguments.
    // OwnCommand() of server/own_command.h returns those of this program. The
    // new program receives the listening descriptors and serves; this one
    // drains.
    //
    // Default: empty (no upgrades).
    std::vector<std::string> command;

    // Limits how long the new program takes until it is ready to accept.
    //
    // Default: 30 s. Range: 0, or 1 ms to 365 days.
    absl::Duration timeout = absl::Seconds(30);
  };

  // Applies to every strategy.
  Upgrade upgrade;

  // --------------------------------------------------------------------------
  // Reports

  // Controls the log, which is standard error unless there is a sink; see
  // server/log_level.h.
  using Log = LogOptions;

  // Applies to every strategy.
  Log log;

  // Chooses the file of descriptor 2 of children. The log of the parent has an
  // open file of its own in any case. What a child does to a shared open file
  // affects other children and the embedder. To open the file again takes a
  // child about 7 us.
  //
  // Default: ChildStderr::kAhead.
  ChildStderr child_stderr = ChildStderr::kAhead;

  // Names the socket of the service manager, which is notified when the server
  // is ready and when it stops: the value of NOTIFY_SOCKET. See
  // server/socket_activation.h.
  //
  // Default: empty (no notifications).
  std::string notify_socket;

  // Lets children report to the parent: how long the handler took, the message
  // of its exception, and its own text; see Annotate() in server/handler.h.
  // These are then in ConnectionReport and in the log. Needs a page of memory
  // (4096 bytes) for each process that has served at the same time.
  //
  // Default: false.
  bool handler_reports = false;

  // Reports each connection whose process has ended. Called in the parent, in
  // the loop of the server. It must not throw: if it does, the program ends,
  // with a line on standard error.
  //
  // Default: does nothing.
  std::function<void(const ConnectionReport&)> on_connection_end;

  // --------------------------------------------------------------------------

  // The largest resident memory, in bytes, of a process that
  // StrategyKind::kAuto forks itself for each connection.
  // docs/decisions/zygote.md has the measurements.
  static constexpr int64_t kLargestToFork = int64_t{4} << 20;

  // Returns InvalidArgument for the first field whose value is not allowed.
  absl::Status Validate() const;

  // Returns InvalidArgument if a deadline is set that a listener at `endpoint`
  // cannot enforce, and unix_deadlines does not allow that.
  absl::Status CheckDeadlinesOn(const net::Endpoint& endpoint) const;

  // Returns how many connections may be served at once: max_connections, or
  // pool.workers with kPool if that is less.
  size_t Capacity() const;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_OPTIONS_H_

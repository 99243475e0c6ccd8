// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_EXEC_HANDLER_H_
#define BROOD_SERVER_EXEC_HANDLER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"

namespace brood::server {

struct ExecutedProgram;

// ExecStyle is the kind of server for which a program was written. It decides
// which descriptors are the connection, and which variables describe the
// connection.
enum class ExecStyle {
  kUcspi,    // as tcpserver and s6-tcpserver: descriptors 0 and 1
  kInetd,    // as inetd and xinetd: 0, 1 and 2, in the directory /
  kSystemd,  // as systemd with Accept=yes: 0, 1, and 3 with LISTEN_FDS=1
};

// Returns the style that `text` names: "ucspi", "inetd" or "systemd".
absl::StatusOr<ExecStyle> ParseExecStyle(absl::string_view text);

// ExecOptions is which program serves each connection, and how it is executed.
struct ExecOptions {
  // Names the program and its arguments. A name without a slash is looked up in
  // PATH, once, when the handler is created; each connection then executes the
  // file at that path.
  //
  // REQUIRES: at least the program.
  std::vector<std::string> command;

  // Chooses the descriptors and variables that the program finds.
  //
  // Default: ExecStyle::kUcspi.
  ExecStyle style = ExecStyle::kUcspi;

  // Adds variables to the environment of the program, each NAME=VALUE, or NAME
  // for the value that this process has. Of two variables with one name the
  // later one counts. In addition the program has PATH, HOME, LANG, LC_* and TZ
  // of this process, and the variables that describe the connection.
  //
  // Default: none.
  std::vector<std::string> environment;
};

// ExecHandler is a handler that executes a program, which then serves the
// connection: any program for tcpserver, inetd or systemd with Accept=yes,
// unchanged.
//
// Created in the parent, and copied like any handler; called in the child,
// whose process then runs the program. The program has the connection as its
// standard input and output, in blocking mode; see docs/programs.md for its
// descriptors, variables, signals and process group. Deadlines, stops and
// upgrades work as for other handlers.
//
// Errors: Create() names the program or the variable. A child that cannot
// execute the program logs why, and ends with ExitCode::kSystemRefused. What
// the program returns is reported and not judged.
//
// Example:
//   ExecOptions cat;
//   cat.command = {"cat"};
//   absl::StatusOr<ExecHandler> handler = ExecHandler::Create(cat);
//   if (!handler.ok()) return handler.status();
//   auto server = TcpServer::Create(options, *handler);
class ExecHandler {
 public:
  // Finds the program, and makes the part of its environment that does not
  // depend on the connection. Must be called before the server is created: a
  // signal that is ignored at the time of the call stays ignored in the
  // program.
  static absl::StatusOr<ExecHandler> Create(const ExecOptions& options);

  // Executes the program. Does not return if that succeeds.
  ExitCode operator()(net::Connection& connection) const;

  // Returns InvalidArgument if a server with `options` cannot run programs,
  // naming the field. TcpServer::Create() calls it.
  absl::Status CheckServer(const Options& options) const;

  // Returns the process group that the children of this style need.
  ChildGroup group() const;

  // Returns the program that `handler` executes; null if it is no ExecHandler.
  // Valid as long as a copy of the handler exists. For TcpServer, which may
  // execute the program without a fork.
  static const ExecutedProgram* ProgramOf(const Handler& handler);

 private:
  // Makes a handler for `program`.
  explicit ExecHandler(std::shared_ptr<const ExecutedProgram> program);

  std::shared_ptr<const ExecutedProgram> program_;
  std::vector<char*> arguments_;  // of `program_`, for execve()
};

}  // namespace brood::server

#endif  // BROOD_SERVER_EXEC_HANDLER_H_

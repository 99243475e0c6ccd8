// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_CHILD_PROGRAM_H_
#define BROOD_SERVER_CHILD_CHILD_PROGRAM_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/server/child/handle_connection.h"
#include "brood/server/handler.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/report/handler_report.h"

namespace brood::server {

// ChildHardening is how a child protects itself, before it does anything else;
// see HardeningOptions. The default does nothing.
struct ChildHardening {
  // Returns the hardening that `options` ask for. Called in the parent.
  static ChildHardening For(const Options& options);

  // Whether the process is closed to other processes of the same user.
  bool closes = false;
  // The oom_score_adj of a process that is created ahead of its connections;
  // nothing if it is left as it is.
  absl::optional<int> oom_score;
  // Whether a child that is created for one connection gets `oom_score`, too.
  bool oom_score_in_each = false;
};

// ChildProgram is what a child of a server does, whichever strategy created it.
//
// Created in the parent from the options of the embedder; runs in the child. A
// process that serves one connection and one that serves many do the same
// things: Begin() and EnterPage() once, and Serve() for each connection.
//
// Errors: Begin() and EnterPage() return the exit code with which the process
// must end.
//
// Example:
//   spawner.Spawn([&] { return program.BeginAndServe(connection, slot); });
class ChildProgram {
 public:
  // Makes the program of a server: children call `prepare`, which may be empty,
  // and `handler` for each connection. `log` and `reports` outlive the program;
  // without `reports` nothing is reported.
  ChildProgram(Handler handler, const LingerSettings& settings,
               std::function<absl::Status()> prepare, EventLog* log,
               OnParentDeath on_parent_death = OnParentDeath::kFinish,
               const HandlerReports* reports = nullptr,
               ChildStderr standard_error = ChildStderr::kShared,
               const ChildHardening& hardening = {});

  // Returns the handler.
  const Handler& handler() const { return handler_; }

  // Hardens this process, a zygote or its standby. Processes that it forks
  // inherit the hardening.
  void HardenZygote() const;
  // Hardens this process, sets standard error, runs Options::prepare_child,
  // and, with OnParentDeath::kDie, makes the kernel kill the process when the
  // server dies. Called once in a process that was just created ahead of its
  // connections. Returns nothing if the process can serve.
  absl::optional<int> Begin() const;
  // Makes this process report to `page`, and unmaps all other pages. Called
  // once in a process, before Serve(). Returns nothing if the process can
  // serve.
  absl::optional<int> EnterPage(uint32_t page) const;
  // Logs the peer of `connection` and calls the handler. Returns ToExitCode()
  // of its code.
  int Serve(net::Connection& connection) const;
  // Runs a child that serves one connection and reports to `page`. Returns its
  // exit code.
  int BeginAndServe(net::Connection& connection, uint32_t page) const;

  // Returns `code`, or kBug if the kernel would report it as another number: an
  // exit status holds 0 to 255.
  static int ToExitCode(int code);

 private:
  // Does what Begin() does after the hardening. `is_ahead` reports whether the
  // process was created ahead of its connection.
  absl::optional<int> SetUp(bool is_ahead) const;
  // Hardens this process; its oom_score_adj only if `sets_oom_score`.
  void Harden(bool sets_oom_score) const;
  // Runs Options::prepare_child, if there is one.
  absl::Status Prepare() const;
  // Makes the kernel kill this process when the server dies, if it is to.
  absl::Status EndWithParent() const;

  const Handler handler_;
  const LingerSettings settings_;
  const std::function<absl::Status()> prepare_;
  EventLog* const log_;
  const pid_t die_with_;  // 0 if the process outlives the server
  const HandlerReports* const reports_;
  const ChildStderr standard_error_;
  const ChildHardening hardening_;
  // Whether this process has its oom_score_adj from the zygote that forked it.
  mutable bool has_oom_score_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_CHILD_PROGRAM_H_

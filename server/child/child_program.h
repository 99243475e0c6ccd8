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

// ChildHardening is what a child does to itself before anything else; see
// HardeningOptions. The default does nothing.
struct ChildHardening {
  // Returns what `options` ask for. In the parent.
  static ChildHardening For(const Options& options);

  // Whether the process is closed to others of the same user.
  bool closes = false;
  // The oom_score_adj of a process that is created ahead of its connections;
  // nothing if it is left as it is.
  absl::optional<int> oom_score;
  // Whether a child that is created for one connection has it, too.
  bool oom_score_in_each = false;
};

// ChildProgram is what the children of a server do, however they are created.
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
  // Stores what children do. `prepare` may be empty; `log` and `reports`
  // outlive the program; without `reports` nothing is reported.
  ChildProgram(Handler handler, const LingerSettings& settings,
               std::function<absl::Status()> prepare, EventLog* log,
               OnParentDeath on_parent_death = OnParentDeath::kFinish,
               const HandlerReports* reports = nullptr,
               ChildStderr standard_error = ChildStderr::kShared,
               const ChildHardening& hardening = {});

  // Hardens this process, a zygote or its standby. What it forks is as hard.
  void HardenZygote() const;
  // Hardens this process, sets standard error, runs
  // Options::prepare_child, and then arranges that
  // the process ends with the server, if it is to. Called once in a process
  // that was just created ahead of its connections. Returns nothing if the
  // process can serve.
  absl::optional<int> Begin() const;
  // Makes `page` the one to which this process reports, and takes all others
  // from it. Called once in a process, before Serve(). Returns nothing if the
  // process can serve.
  absl::optional<int> EnterPage(uint32_t page) const;
  // Logs the peer of `connection` and calls the handler. Returns its code, as
  // ToExitCode() has it.
  int Serve(net::Connection& connection) const;
  // Runs a child that serves one connection and reports to `page`. Returns its
  // exit code.
  int BeginAndServe(net::Connection& connection, uint32_t page) const;

  // Returns `code`, or kBug if the kernel would report it as another one: an
  // exit status holds 0 to 255.
  static int ToExitCode(int code);

 private:
  // Sets standard error and does the rest of Begin(), in a process that was
  // created ahead of its connection if `is_ahead`.
  absl::optional<int> PrepareAndShareFate(bool is_ahead) const;
  void Harden(bool sets_oom_score) const;
  absl::Status Prepare() const;
  absl::Status ShareFate() const;

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

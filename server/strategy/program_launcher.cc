// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/program_launcher.h"

#include <unistd.h>

#include <new>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/server/exec/executed_program.h"
#include "brood/server/exec/variables.h"

namespace brood::server {
namespace {

// Reports whether a child does nothing for its connection but execute
// `program`.
bool ChildrenOnlyExecute(const Options& options,
                         const ExecutedProgram& program) {
  const bool has_own_stderr = options.child_stderr == ChildStderr::kOwn ||
                              options.child_stderr == ChildStderr::kNull;
  // Writing to it would change the parent, which has the same memory.
  const bool has_own_oom_score = options.hardening.oom_score_adj > 0 &&
                                 options.hardening.oom_score_with_fork;
  return !options.prepare_child && !options.handler_reports &&
         !has_own_stderr && !has_own_oom_score &&
         program.extra != ExecutedProgram::Extra::kListenFds;
}

proc::LaunchedProgram Launched(const Options& options,
                               const ExecutedProgram& program) {
  proc::LaunchedProgram launched;
  launched.path = program.path;
  launched.arguments = program.arguments;
  launched.targets = program.descriptors;
  launched.begins_session = program.begins_session;
  launched.directory = program.directory;
  launched.kept_if_ignored = program.ignored_signals;
  if (options.on_parent_death == OnParentDeath::kDie) {
    launched.dies_with = getpid();
  }
  launched.linger_ms = absl::ToInt64Milliseconds(options.linger);
  return launched;
}

}  // namespace

ProgramLauncher ProgramLauncher::For(const Options& options,
                                     const StrategyEnvironment& environment) {
  ProgramLauncher launcher;
  const ExecutedProgram* const program = environment.executed;
  if (program == nullptr || !ChildrenOnlyExecute(options, *program)) {
    return launcher;
  }
  launcher.launcher_ = std::make_unique<proc::Launcher>(
      environment.reaper->exit_signal(), environment.settings,
      Launched(options, *program));
  launcher.program_ = program;
  launcher.log_ = environment.log;
  return launcher;
}

void ProgramLauncher::Prepare() {
  if (launcher_ != nullptr) launcher_->Prepare();
}

// Without memory for an unusually large environment, a child is forked, which
// makes the environment in its own memory.
absl::optional<absl::StatusOr<proc::SpawnedChild>> ProgramLauncher::Launch(
    const net::Connection& connection) {
  if (launcher_ == nullptr) return absl::nullopt;
  try {
    Variables variables(program_->variables);
    program_->AddVariables(connection, &variables);
    return launcher_->Launch(connection.fd(), variables.Environment());
  } catch (const std::bad_alloc&) {
    return absl::nullopt;
  }
}

void ProgramLauncher::ChildEnded(Slot slot, pid_t pid,
                                 Strategy::Events& events) {
  if (launcher_ == nullptr) return;
  const absl::Status executed = launcher_->TakeError(pid);
  if (!executed.ok()) log_->ProgramNotExecuted(events.PeerOf(slot), executed);
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/child_program.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "brood/proc/hardening/exposure.h"
#include "brood/proc/memory/child_pages.h"
#include "brood/proc/parent_death.h"
#include "brood/proc/sync_point.h"
#include "brood/server/child/standard_error.h"
#include "brood/server/strategy_kind.h"

namespace brood::server {

// With spares and pool, a child that is forked for its connection is an
// exception, so the time for setting its oom_score_adj does not matter.
ChildHardening ChildHardening::For(const Options& options) {
  constexpr int kHighest = 1000;
  const HardeningOptions& asked = options.hardening;
  ChildHardening hardening;
  hardening.closes = !asked.dumpable;
  if (asked.oom_score_adj > 0) {
    hardening.oom_score =
        std::min(kHighest, std::max(proc::OomScore(), 0) + asked.oom_score_adj);
  }
  hardening.oom_score_in_each = asked.oom_score_with_fork ||
                                options.strategy == StrategyKind::kSpares ||
                                options.strategy == StrategyKind::kPool;
  return hardening;
}

ChildProgram::ChildProgram(Handler handler, const LingerSettings& settings,
                           std::function<absl::Status()> prepare, EventLog* log,
                           OnParentDeath on_parent_death,
                           const HandlerReports* reports,
                           ChildStderr standard_error,
                           const ChildHardening& hardening)
    : handler_(std::move(handler)),
      settings_(settings),
      prepare_(std::move(prepare)),
      log_(log),
      die_with_(on_parent_death == OnParentDeath::kDie ? getpid() : 0),
      reports_(reports),
      standard_error_(standard_error),
      hardening_(hardening) {}

void ChildProgram::HardenZygote() const {
  Harden(/*sets_oom_score=*/true);
  has_oom_score_ = true;
}

absl::optional<int> ChildProgram::Begin() const {
  Harden(/*sets_oom_score=*/true);
  return SetUp(/*is_ahead=*/true);
}

// Sets the score first: a process that is closed to others cannot write to its
// own files in /proc, unless it belongs to root. TcpServer::Create() warns if
// either is refused.
void ChildProgram::Harden(bool sets_oom_score) const {
  if (sets_oom_score && hardening_.oom_score && !has_oom_score_) {
    proc::SetOomScore(*hardening_.oom_score);
  }
  if (hardening_.closes) proc::CloseToOthers().IgnoreError();
}

absl::optional<int> ChildProgram::SetUp(bool is_ahead) const {
  absl::Status begun = SetStandardError(standard_error_, is_ahead);
  if (begun.ok()) begun = Prepare();
  // Last, because prepare_child may have changed the user: the kernel then
  // forgets the setting that was made before.
  if (begun.ok()) begun = EndWithParent();
  if (begun.ok()) return absl::nullopt;
  log_->NotPrepared(begun);
  return static_cast<int>(ExitCode::kSystemRefused);
}

absl::Status ChildProgram::Prepare() const {
  if (!prepare_) return absl::OkStatus();
  // prepare_child may take long, or hang, so the setting must be made before it
  // as well.
  absl::Status shared = EndWithParent();
  if (!shared.ok()) return shared;
  try {
    return prepare_();
  } catch (...) {
    return absl::InternalError("it threw an exception");
  }
}

absl::Status ChildProgram::EndWithParent() const {
  return die_with_ == 0 ? absl::OkStatus() : proc::DieWithParent(die_with_);
}

// Without `reports_`, unmaps the pages of other servers of the process: they
// are not for this child.
absl::optional<int> ChildProgram::EnterPage(uint32_t page) const {
  const absl::Status entered = reports_ != nullptr
                                   ? reports_->Enter(page)
                                   : proc::ChildPages::KeepOnly(nullptr);
  if (entered.ok()) return absl::nullopt;
  log_->NotPrepared(entered);
  return static_cast<int>(ExitCode::kSystemRefused);
}

int ChildProgram::Serve(net::Connection& connection) const {
  log_->Handling(connection.peer());
  proc::SyncPoint("child: about to serve");
  const int code = static_cast<int>(HandleConnection(
      connection, handler_, settings_, [&](absl::string_view what) {
        log_->HandlerThrew(connection.peer(), what);
      }));
  proc::SyncPoint("child: served");
  const int exit_code = ToExitCode(code);
  if (exit_code != code) log_->BadExitCode(connection.peer(), code);
  return exit_code;
}

int ChildProgram::ToExitCode(int code) {
  return 0 <= code && code <= 255 ? code : static_cast<int>(ExitCode::kBug);
}

int ChildProgram::BeginAndServe(net::Connection& connection,
                                uint32_t page) const {
  Harden(hardening_.oom_score_in_each);
  // First, because the embedder's prepare_child may forbid system calls.
  if (const absl::optional<int> failed = EnterPage(page)) return *failed;
  if (const auto failed = SetUp(/*is_ahead=*/false)) {
    return *failed;
  }
  return Serve(connection);
}

}  // namespace brood::server

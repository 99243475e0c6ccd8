// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/exit_fields.h"

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "absl/time/time.h"
#include "brood/server/handler.h"

namespace brood::server {

ExitText ExitText::OfHandler(const proc::ExitStatus& status, ExitCodes codes) {
  ExitText how(status);
  if (!status.exited() || codes == ExitCodes::kOfPrograms) return how;
  const absl::string_view meaning =
      Meaning(static_cast<ExitCode>(status.code()));
  if (meaning.empty()) return how;
  const size_t size = std::strlen(how.text_);
  std::snprintf(how.text_ + size, sizeof(how.text_) - size, " (%.*s)",
                static_cast<int>(meaning.size()), meaning.data());
  return how;
}

absl::string_view KillReasonName(KillReason reason) {
  switch (reason) {
    case KillReason::kStop:
      return "stop";
    case KillReason::kFirstByte:
      return "first_byte";
    case KillReason::kIdle:
      return "idle";
    case KillReason::kPeer:
      return "peer";
    case KillReason::kConnection:
      break;
  }
  return "connection";
}

LogLevel LevelOf(const ConnectionReport& report, ExitCodes codes) {
  const proc::ExitStatus& status = report.status;
  bool failed = true;
  if (status.unknown()) {
    failed = false;  // StatusTaken() warns, once
  } else if (status.exited()) {
    const auto code = static_cast<ExitCode>(status.code());
    failed = codes == ExitCodes::kOfHandlers &&
             (code == ExitCode::kHandlerFailed || code == ExitCode::kBug);
  } else if (status.killed() && report.kill_reason) {
    failed = *report.kill_reason != KillReason::kStop;
  }
  return failed ? LogLevel::kWarning : LogLevel::kInfo;
}

void AddExit(const proc::ExitStatus& status, Event& event) {
  if (status.exited()) event.Add("brood.exit.code", status.code());
  if (status.killed()) event.Add("brood.exit.signal", status.signal());
}

void AddOutcome(const proc::ExitStatus& status, bool signalled_by_us,
                Event& event) {
  absl::string_view outcome = "unknown";
  absl::string_view result = "unknown";
  if (status.exited()) {
    const bool ok = static_cast<ExitCode>(status.code()) == ExitCode::kServed;
    outcome = ok ? "ok" : "error";
    result = ok ? "success" : "failure";
  } else if (status.killed()) {
    outcome = signalled_by_us ? "killed" : "crashed";
    result = "failure";
  }
  event.Add("brood.outcome", outcome).Add("event.outcome", result);
  AddExit(status, event);
  const rusage& usage = status.usage();
  event.Add("brood.cpu.user", absl::DurationFromTimeval(usage.ru_utime))
      .Add("brood.cpu.system", absl::DurationFromTimeval(usage.ru_stime));
}

}  // namespace brood::server

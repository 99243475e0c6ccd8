// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_EXIT_FIELDS_H_
#define BROOD_SERVER_LOG_EXIT_FIELDS_H_

#include "absl/strings/string_view.h"
#include "brood/proc/exit_status.h"
#include "brood/server/connection_report.h"
#include "brood/server/log/event.h"
#include "brood/server/log_level.h"

namespace brood::server {

// ExitCodes is the vocabulary of the exit codes of children.
enum class ExitCodes {
  // The numbers of ExitCode.
  kOfHandlers,
  // The numbers of a program that a child has executed. They have no common
  // meaning: sshd, for example, ends a successful session with 255.
  kOfPrograms,
};

// ExitText is a phrase for how a process ended: "exited with code 0 (served)".
//
// It owns the phrase and allocates nothing.
class ExitText {
 public:
  // Makes the phrase for `status`.
  explicit ExitText(const proc::ExitStatus& status) {
    status.Print(text_, sizeof(text_));
  }
  // Returns the phrase for a process that handled a connection. It includes the
  // meaning of the exit code if `codes` have one.
  static ExitText OfHandler(const proc::ExitStatus& status,
                            ExitCodes codes = ExitCodes::kOfHandlers);

  // Returns the phrase, which lives as long as this object.
  absl::string_view text() const { return text_; }

 private:
  char text_[160];
};

// Returns the name of `reason`, the value of the key brood.kill.reason.
absl::string_view KillReasonName(KillReason reason);

// Returns the level at which the end of a connection is logged. It is no
// failure if the client caused the end, if the server stops, or if a program
// exits with any code.
LogLevel LevelOf(const ConnectionReport& report,
                 ExitCodes codes = ExitCodes::kOfHandlers);

// Adds brood.exit.code or brood.exit.signal, as numbers.
void AddExit(const proc::ExitStatus& status, Event& event);

// Adds how a connection ended (brood.outcome, with the names of Totals, and
// event.outcome), its AddExit(), and its processor time (brood.cpu.user and
// brood.cpu.system).
void AddOutcome(const proc::ExitStatus& status, bool signalled_by_us,
                Event& event);

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_EXIT_FIELDS_H_

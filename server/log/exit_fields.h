// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_EXIT_FIELDS_H_
#define BROOD_SERVER_LOG_EXIT_FIELDS_H_

#include "absl/strings/string_view.h"
#include "brood/proc/exit_status.h"
#include "brood/server/connection_report.h"
#include "brood/server/log/event.h"
#include "brood/server/log_level.h"

namespace brood::server {

// ExitCodes says whose numbers the exit codes of children are.
enum class ExitCodes {
  kOfHandlers,  // those of ExitCode
  kOfPrograms,  // of a program that a child has executed: sshd ends a session
                // that went well with 255
};

// ExitText is how a process ended, as a phrase: "exited with code 0 (served)".
//
// It owns the phrase and allocates nothing.
class ExitText {
 public:
  // Prints `status`.
  explicit ExitText(const proc::ExitStatus& status) {
    status.Print(text_, sizeof(text_));
  }
  // Returns the phrase of a process that handled a connection, which includes
  // the meaning of its exit code if `codes` have one.
  static ExitText OfHandler(const proc::ExitStatus& status,
                            ExitCodes codes = ExitCodes::kOfHandlers);

  // Returns the phrase, which lives as long as this object.
  absl::string_view text() const { return text_; }

 private:
  char text_[160];
};

// Returns the name of `reason`, as brood.kill.reason has it.
absl::string_view KillReasonName(KillReason reason);

// Returns how important the end of a connection is. What its client did, and
// what the server does to its children when it stops, is no failure; nor is an
// exit code of a program.
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

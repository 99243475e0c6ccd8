// SPDX-License-Identifier: Apache-2.0

// The events of EventLog about upgrades and other programs of the server.

#include "brood/server/log/event_log.h"
#include "brood/server/log/exit_fields.h"

namespace brood::server {

void EventLog::UpgradeStarted(pid_t pid, absl::string_view path) {
  Log(Event(LogLevel::kInfo, "upgrade-started",
            "upgrade: started pid {} from {}")
          .Add("brood.child.pid", pid)
          .Add("brood.upgrade.path", path));
}

void EventLog::UpgradeIgnored(absl::string_view why) {
  Log(Event(LogLevel::kWarning, "upgrade-ignored", "upgrade ignored: {}")
          .Add("error.message", why));
}

void EventLog::SuccessorReady(pid_t pid) {
  Log(Event(LogLevel::kInfo, "upgrade-ready",
            "upgrade: pid {} is ready and accepts connections")
          .Add("brood.child.pid", pid));
}

void EventLog::HandedOver(pid_t pid) {
  Log(Event(LogLevel::kInfo, "upgrade-completed",
            "upgrade: pid {} has taken over")
          .Add("brood.child.pid", pid));
}

void EventLog::UpgradeFailed(pid_t pid, const absl::Status& why,
                             uint64_t failures) {
  Event event(LogLevel::kError, "upgrade-failed",
              pid == 0 ? "upgrade failed, still serving: {} (failures: {})"
                       : "upgrade failed, still serving: new process {} {} "
                         "(failures: {})");
  if (pid != 0) event.Add("brood.child.pid", pid);
  Log(event.Add("error.message", why.message())
          .Add("brood.upgrade.failures", failures));
}

void EventLog::GenerationEnded(pid_t pid, const proc::ExitStatus& status) {
  const ExitText how(status);
  Event event(LogLevel::kInfo, "generation-ended",
              "upgrade: pid {}, which had taken over, {}");
  event.Add("brood.child.pid", pid).AddPhrase(how.text());
  AddExit(status, event);
  Log(event);
}

void EventLog::MainProcessEnded() {
  Log(Event(LogLevel::kWarning, "main-process-ended",
            "the main process of this server has ended: stopping"));
}

void EventLog::WaitingForChildren(size_t running) {
  Log(Event(LogLevel::kInfo, "waiting",
            "replaced by another program, waiting for {} connections")
          .Add("brood.running", running));
}

}  // namespace brood::server

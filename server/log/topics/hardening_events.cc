// SPDX-License-Identifier: Apache-2.0

// The events of EventLog about the zygote's health and the hardening of
// children.

#include "brood/server/log/event_log.h"

namespace brood::server {

void EventLog::ZygoteStalled(pid_t pid, size_t waiting) {
  Log(Event(LogLevel::kError, "zygote-stalled",
            "zygote pid {} does nothing while {} connections wait")
          .Add("brood.child.pid", pid)
          .Add("brood.waiting", waiting));
}

void EventLog::ZygoteReplaced(absl::string_view what) {
  Log(Event(LogLevel::kInfo, "zygote-replaced",
            "the zygote is replaced: {} of this process has changed")
          .Add("brood.changed", what));
}

void EventLog::HardeningRefused(absl::string_view option,
                                const absl::Status& why) {
  Log(Event(LogLevel::kWarning, "hardening-refused",
            "{} has no effect on children: {}")
          .Add("brood.option", option)
          .Add("error.message", why.message()));
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

// The events of EventLog about the process of a server and its limits.

#include "brood/server/log/event_log.h"

namespace brood::server {

void EventLog::Inherited(absl::string_view what) {
  Log(Event(LogLevel::kInfo, "inherited", "inherited: {}")
          .Add("brood.inherited", what));
}

void EventLog::SignalQueueTooSmall(uint64_t limit, size_t cap) {
  Log(Event(
          LogLevel::kWarning, "signal-queue-too-small",
          "the limit of pending signals (ulimit -i {}) is below the cap of "
          "{} connections: if many children end at once, some are reaped late")
          .Add("brood.signal_limit", limit)
          .Add("brood.cap", cap));
}

void EventLog::DescriptorsShort(uint64_t limit, size_t needed,
                                absl::string_view what_for) {
  Log(Event(LogLevel::kWarning, "descriptors-short",
            "the limit of descriptors (ulimit -n {}) is below the {} that may "
            "be needed ({}): what does not fit is not made, and clients wait "
            "when none is free")
          .Add("brood.descriptor_limit", limit)
          .Add("brood.descriptors_needed", needed)
          .Add("brood.descriptors_for", what_for));
}

}  // namespace brood::server

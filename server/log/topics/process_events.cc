// SPDX-License-Identifier: Apache-2.0

// The events of EventLog about the process of a server and its limits.

#include <array>

#include "brood/server/log/event_log.h"
#include "brood/server/log/line_buffer.h"

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
            "be needed ({}): workers that do not fit are not created, and "
            "clients "
            "wait while no descriptor is free")
          .Add("brood.descriptor_limit", limit)
          .Add("brood.descriptors_needed", needed)
          .Add("brood.descriptors_for", what_for));
}

void EventLog::SignalRefused(pid_t pid, size_t count, const absl::Status& why) {
  Log(Event(LogLevel::kError, "signal-refused",
            "pid {} cannot be killed ({} such children): {}; its slot is kept, "
            "and a stop leaves it behind (logged once for each cause)")
          .Add("brood.child.pid", pid)
          .Add("brood.children", count)
          .Add("error.message", why.message()));
}

void EventLog::HeldByTracer(pid_t pid, net::Instant now) {
  LogThrottled(kHeldByTracer, now,
               Event(LogLevel::kWarning, "held-by-tracer",
                     "pid {} is dead, and another process traces it and holds "
                     "its status: its slot is free ({} similar messages "
                     "suppressed)")
                   .Add("brood.child.pid", pid));
}

void EventLog::LeftBehind(size_t count, absl::Span<const pid_t> pids) {
  std::array<char, 128> memory;
  LineBuffer text(absl::MakeSpan(memory));
  for (const pid_t pid : pids) {
    if (pid != pids.front()) text.Append(", ");
    text.AppendInteger(pid);
  }
  Log(Event(LogLevel::kError, "left-behind",
            "{} children cannot be killed and are left: pid {}")
          .Add("brood.children", count)
          .Add("brood.pids", text.text()));
}

void EventLog::PollPaused(const char* source, absl::Duration pause,
                          net::Instant now) {
  LogThrottled(kPollPaused, now,
               Event(LogLevel::kError, "poll-paused",
                     "poll reports {} again and again, and there is nothing to "
                     "read; polling it again in {ms} ms ({} similar messages "
                     "suppressed)")
                   .Add("brood.source", source)
                   .Add("brood.pause", pause));
}

void EventLog::WorkerDismissed(pid_t pid, absl::string_view why,
                               net::Instant now) {
  LogThrottled(kWorkerDismissed, now,
               Event(LogLevel::kWarning, "worker-dismissed",
                     "worker pid {} is dismissed: {} ({} similar messages "
                     "suppressed)")
                   .Add("brood.child.pid", pid)
                   .Add("error.message", why));
}

}  // namespace brood::server

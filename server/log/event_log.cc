// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/event_log.h"

#include <utility>

#include "brood/proc/errors/errno_status.h"
#include "brood/server/handler.h"
#include "brood/server/log/exit_fields.h"

namespace brood::server {
namespace {

// The time in which one line is written for a flood.
constexpr absl::Duration kFloodPeriod = absl::Seconds(1);

// Returns the event `name`, which reports that the process `pid` has the
// connection of `peer`.
Event HasProcess(absl::string_view name, absl::string_view text, pid_t pid,
                 const net::PeerAddress& peer, size_t running, size_t cap) {
  return Event(LogLevel::kInfo, name, text)
      .Add("brood.child.pid", pid)
      .AddClient(peer)
      .Add("brood.running", running)
      .Add("brood.cap", cap);
}

// Returns the event that the handler of `peer` has not served it.
Event ThrewEvent(const net::PeerAddress& peer, absl::string_view what) {
  return Event(LogLevel::kWarning, "handler-threw",
               "the handler of {} threw an exception: {}")
      .AddClient(peer)
      .Add("exception.message", what);
}

}  // namespace

EventLog::EventLog(LogLevel level, LogFormat format, TimeStamp stamp)
    : EventLog(LogSettings{level, format, stamp, "brood", nullptr, 0}) {}

EventLog::EventLog(LogSettings settings, ExitCodes exit_codes)
    : exit_codes_(exit_codes), writer_(std::move(settings)) {}

void EventLog::SpawnFallback(absl::string_view way, absl::string_view why) {
  Log(Event(LogLevel::kInfo, "spawn-fallback",
            "children are created by {}, because a better way is refused: {}")
          .Add("brood.spawn.way", way)
          .Add("error.message", why));
}

void EventLog::RehearsalFailed(const absl::Status& why) {
  Log(Event(LogLevel::kWarning, "rehearsal-failed",
            "the first child failed, and the server starts nevertheless: {}")
          .Add("error.message", why.message()));
}

void EventLog::NotifyFailed(absl::string_view lines, const absl::Status& why) {
  Log(Event(LogLevel::kWarning, "notify-failed", "sd_notify {} failed: {}")
          .Add("brood.notification", lines.substr(0, lines.find('\n')))
          .Add("error.message", why.message()));
}

void EventLog::Draining(size_t running, absl::Duration grace) {
  const bool ends = grace != absl::InfiniteDuration();
  Event event(LogLevel::kInfo, "draining",
              ends ? "draining: {} running, SIGTERM follows in {.1} s"
                   : "draining: {} running, without a limit");
  event.Add("brood.running", running);
  if (ends) event.Add("brood.grace", grace);
  Log(event);
}

void EventLog::Terminating(size_t running) {
  Log(Event(LogLevel::kWarning, "terminating", "terminating {} children")
          .Add("brood.running", running));
}

void EventLog::Killing(size_t running) {
  Log(Event(LogLevel::kWarning, "killing", "killing {} children")
          .Add("brood.running", running));
}

void EventLog::LeftInQueue(size_t clients) {
  Log(Event(LogLevel::kWarning, "left-in-queue",
            "the grace is over: resetting {} clients that still waited in the "
            "queue")
          .Add("brood.left_in_queue", clients));
}

void EventLog::Stopped(const Totals& totals) {
  writer_.ReportLeftOut();
  const bool balanced = totals.Balanced();
  Log(Event(balanced ? LogLevel::kInfo : LogLevel::kError, "stopped",
            "stopped{}: accepted {} = running {} + ended_ok {} + ended_error "
            "{} + crashed {} + killed {} + unknown {} + shed {} + fork_failed "
            "{}; log lines dropped {}")
          .AddPhrase(balanced ? "" : ", UNBALANCED")
          .Add("brood.accepted", totals.accepted)
          .Add("brood.running", totals.running)
          .Add("brood.ended_ok", totals.ended_ok)
          .Add("brood.ended_error", totals.ended_error)
          .Add("brood.crashed", totals.crashed)
          .Add("brood.killed", totals.killed)
          .Add("brood.unknown", totals.unknown)
          .Add("brood.shed", totals.shed)
          .Add("brood.fork_failed", totals.fork_failed)
          .Add("brood.lines_dropped", dropped())
          .Add("event.outcome", balanced ? "success" : "failure"));
}

// Each connection has this event and the next two: they are not built if the
// level leaves them out.
void EventLog::Forked(pid_t pid, const net::PeerAddress& peer, size_t running,
                      size_t cap) {
  if (!Wants(LogLevel::kInfo)) return;
  Log(HasProcess("forked", "forked pid {} to handle {} ({} of {})", pid, peer,
                 running, cap),
      writer_.ChildrenLog() ? 2 : 1);
}

void EventLog::Assigned(pid_t pid, const net::PeerAddress& peer, size_t running,
                        size_t cap) {
  if (!Wants(LogLevel::kInfo)) return;
  Log(HasProcess("assigned", "pid {} handles {} ({} of {})", pid, peer, running,
                 cap),
      writer_.ChildrenLog() ? 2 : 1);
}

void EventLog::Handling(const net::PeerAddress& peer) {
  if (!Wants(LogLevel::kInfo)) return;
  writer_.WriteInChild(
      Event(LogLevel::kInfo, "handling", "serving {}").AddClient(peer));
}

void EventLog::NotPrepared(const absl::Status& why) {
  writer_.WriteInChild(Event(LogLevel::kError, "prepare-failed",
                             "preparing the child failed, the child exits: {}")
                           .Add("error.message", why.message()));
}

void EventLog::HandlerThrew(const net::PeerAddress& peer,
                            absl::string_view what) {
  writer_.WriteInChild(ThrewEvent(peer, what));
}

void EventLog::ProgramNotExecuted(const net::PeerAddress& peer,
                                  const absl::Status& why) {
  const Event event = ThrewEvent(peer, why.message());
  if (Wants(event.level())) writer_.Write(event);
}

void EventLog::BadExitCode(const net::PeerAddress& peer, int code) {
  writer_.WriteInChild(
      Event(LogLevel::kWarning, "bad-exit-code",
            "the handler of {} returned {}, which is not 0 to 255: recorded as "
            "101 (bug)")
          .AddClient(peer)
          .Add("brood.exit.code", code));
}

void EventLog::Ended(const ConnectionReport& report, size_t running,
                     size_t cap) {
  const LogLevel level = LevelOf(report, exit_codes_);
  if (!Wants(level)) return;  // before ExitText formats the status
  const ExitText how = ExitText::OfHandler(report.status, exit_codes_);
  Event event(level, "ended",
              report.annotation.empty()
                  ? "pid {} handling {} {} after {.6} s ({} of {})"
                  : "pid {} handling {} {} after {.6} s ({} of {}): {}");
  event.Add("brood.child.pid", report.pid)
      .AddClient(report.peer)
      .AddPhrase(how.text())
      .Add("event.duration", report.duration)
      .Add("brood.running", running)
      .Add("brood.cap", cap);
  if (!report.annotation.empty()) {
    event.Add("brood.annotation", report.annotation);
  }
  event.AddLocal(report.local)
      .Add("brood.accept_to_child", report.accept_to_child);
  if (report.handler_time > absl::ZeroDuration()) {
    event.Add("brood.handler_time", report.handler_time)
        .Add("brood.linger_time", report.linger_time);
  }
  if (!report.exception.empty()) {
    event.Add("exception.message", report.exception);
  }
  if (report.kill_reason) {
    event.Add("brood.kill.reason", KillReasonName(*report.kill_reason));
  }
  AddOutcome(report.status, report.signalled_by_us, event);
  Log(event, 1);
}

void EventLog::StatusTaken(pid_t pid) {
  Log(Event(LogLevel::kWarning, "status-taken",
            "the exit status of pid {} is unknown: another wait call of this "
            "program took it (with __WALL, or because the handler executed a "
            "program); such connections are counted as unknown from now on")
          .Add("brood.child.pid", pid));
}

void EventLog::Expired(pid_t pid, const net::PeerAddress& peer,
                       KillReason deadline) {
  Log(Event(LogLevel::kWarning, "expired",
            "killing pid {} handling {}: deadlines.{}")
          .Add("brood.child.pid", pid)
          .AddClient(peer)
          .Add("brood.kill.reason", KillReasonName(deadline)));
}

void EventLog::ForkDelayed(const net::PeerAddress& peer,
                           const absl::Status& why, absl::Duration pause,
                           net::Instant now) {
  LogThrottled(
      kForkDelayed, now,
      Event(
          LogLevel::kWarning, "fork-delayed",
          "fork failed for {}: {}; the next attempt is in {ms} ms ({} similar "
          "messages suppressed)")
          .AddClient(peer)
          .Add("error.message", why.message())
          .Add("brood.pause", pause));
}

void EventLog::ForkFailed(const net::PeerAddress& peer, const absl::Status& why,
                          absl::Duration pause, net::Instant now) {
  LogThrottled(
      kForkFailed, now,
      Event(LogLevel::kError, "fork-failed",
            "fork failed for {}, connection closed: {}; accept resumes "
            "in {ms} ms ({} similar messages suppressed)")
          .AddClient(peer)
          .Add("error.message", why.message())
          .Add("brood.pause", pause));
}

void EventLog::AcceptPaused(const net::Endpoint& listener, int error,
                            absl::Duration pause, net::Instant now) {
  LogThrottled(kAcceptPaused, now,
               Event(LogLevel::kWarning, "accept-paused",
                     "accept failed on {}: {}; accept resumes in {ms} ms at "
                     "the latest ({} similar messages suppressed)")
                   .AddListener(listener)
                   .Add("error.message", proc::ErrnoText(error))
                   .Add("brood.pause", pause));
}

void EventLog::AcceptFailed(const net::Endpoint& listener, int error,
                            net::Instant now) {
  LogThrottled(kAcceptFailed, now,
               Event(LogLevel::kWarning, "accept-failed",
                     "accept failed on {}: {}; trying the next connection ({} "
                     "similar messages suppressed)")
                   .AddListener(listener)
                   .Add("error.message", proc::ErrnoText(error)));
}

void EventLog::ListenerDead(const net::Endpoint& listener, int error) {
  Log(Event(LogLevel::kError, "listener-closed",
            "accept failed on {}: {}; this listener is closed")
          .AddListener(listener)
          .Add("error.message", proc::ErrnoText(error)));
}

void EventLog::ConnectionsNotVisible(const absl::Status& why,
                                     net::Instant now) {
  LogThrottled(kNotVisible, now,
               Event(LogLevel::kError, "connections-not-visible",
                     "deadlines are late, because the kernel cannot be asked "
                     "about connections: {}; trying again ({} similar messages "
                     "suppressed)")
                   .Add("error.message", why.message()));
}

void EventLog::CallFailed(const char* call, int error, net::Instant now) {
  LogThrottled(
      kCallFailed, now,
      Event(LogLevel::kError, "call-failed",
            "{} failed: {}; trying again ({} similar messages suppressed)")
          .Add("brood.call", call)
          .Add("error.message", proc::ErrnoText(error)));
}

void EventLog::WorkerDiedAtStart(pid_t pid, const proc::ExitStatus& status,
                                 absl::Duration pause) {
  const ExitText how(status);
  Event event(
      LogLevel::kError, "worker-died-at-start",
      "worker pid {} {} before it was ready; the next fork is in {ms} ms");
  event.Add("brood.child.pid", pid)
      .AddPhrase(how.text())
      .Add("brood.pause", pause);
  AddExit(status, event);
  Log(event);
}

void EventLog::PreforkFailed(const absl::Status& why, absl::Duration pause) {
  Log(Event(LogLevel::kError, "prefork-failed",
            "prefork failed: {}; the next attempt is in {ms} ms")
          .Add("error.message", why.message())
          .Add("brood.pause", pause));
}

void EventLog::ZygoteEnded(pid_t pid, const proc::ExitStatus& status) {
  const ExitText how(status);
  Event event(LogLevel::kWarning, "zygote-ended", "zygote pid {} {}");
  event.Add("brood.child.pid", pid).AddPhrase(how.text());
  AddExit(status, event);
  Log(event);
}

void EventLog::ZygoteServes(pid_t pid) {
  Log(Event(LogLevel::kInfo, "zygote-ready", "zygote is pid {}")
          .Add("brood.child.pid", pid));
}

void EventLog::Log(const Event& event, int lines) {
  if (Wants(event.level())) writer_.Write(event, lines);
}

void EventLog::LogThrottled(Flood flood, net::Instant now, Event& event) {
  if (!Wants(event.level())) return;
  Throttle& throttle = throttles_[flood];
  if (now < throttle.quiet_until) {
    ++throttle.suppressed;
    return;
  }
  throttle.quiet_until = net::After(now, kFloodPeriod);
  event.Add("brood.suppressed", throttle.suppressed);
  if (writer_.Write(event)) throttle.suppressed = 0;
}

}  // namespace brood::server

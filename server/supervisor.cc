#include "brood/server/supervisor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <utility>

#include "absl/status/statusor.h"

namespace brood::server {
namespace {

using net::Instant;

// How many connections a listener may bring in one turn before signals, deaths
// and the other listeners have theirs.
constexpr int kAcceptBatch = 16;
// How many clients may still come in, on each listener, while a stopping server
// empties the queue; without a bound a flood would keep it open for ever.
constexpr int kLatecomers = 64;

// The fixed places of polled_.
enum { kSignals, kDeaths, kDrainRequest, kFirstListener };

}  // namespace

Supervisor::Supervisor(const Options& options, Parts parts)
    : parts_(std::move(parts)),
      lifecycle_(options.drain_grace),
      admission_(static_cast<size_t>(options.max_connections)),
      scoreboard_(static_cast<size_t>(options.max_connections)),
      drain_quota_(parts_.listeners.size()) {
  const int signals_fd = parts_.signals ? parts_.signals->fd() : -1;
  polled_.push_back({signals_fd, POLLIN, 0});
  polled_.push_back({reaper().fd(), POLLIN, 0});
  polled_.push_back({parts_.drain_request_fd, POLLIN, 0});
  for (const net::Listener& listener : parts_.listeners) {
    polled_.push_back({listener.fd(), POLLIN, 0});
    log().Listening(listener.endpoint());
  }
  for (const pollfd& framework : polled_) {
    if (framework.fd >= 0) parts_.strategy->Hide(framework.fd);
  }
  if (log().own_fd() >= 0) parts_.strategy->Hide(log().own_fd());
  lifecycle_.Started();
}

Supervisor::~Supervisor() {
  while (!lifecycle_.stopped()) {
    RequestStop(net::Now());
    SignalChildren(SIGKILL);
    Turn(Lifecycle::kKillDelay);
  }
}

absl::Status Supervisor::Run() {
  absl::Status ready = parts_.strategy->Prepare();
  if (!ready.ok()) return ready;
  while (Turn(absl::InfiniteDuration())) {
  }
  return status_;
}

absl::StatusOr<bool> Supervisor::Step(absl::Duration patience) {
  absl::Status ready = parts_.strategy->Prepare();
  if (!ready.ok()) return ready;
  if (Turn(patience)) return true;
  if (!status_.ok()) return status_;
  return false;
}

bool Supervisor::Turn(absl::Duration patience) {
  if (lifecycle_.stopped()) return false;
  AwaitEvents(patience);
  const Instant now = net::Now();
  TakeSignals(now);
  CleanupChildren(now);
  StepLifecycle(now);
  AcceptBatch(now);
  return !lifecycle_.stopped();
}

// The one place where the parent sleeps. A listener is polled only when a
// connection from it could be served: full means not listening.
void Supervisor::AwaitEvents(absl::Duration patience) {
  const Instant now = net::Now();
  const bool open =
      lifecycle_.accepting() && admission_.Open(scoreboard_.running(), now);
  for (size_t i = 0; i < parts_.listeners.size(); ++i) {
    polled_[kFirstListener + i].fd = open ? parts_.listeners[i].fd() : -1;
  }
  const Instant alarm =
      std::min({net::After(now, patience), reaper().next_check(),
                lifecycle_.deadline(), admission_.resume_at(now)});
  const timespec timeout = absl::ToTimespec(net::TimeUntil(alarm, now));
  const int ready = ppoll(polled_.data(), polled_.size(),
                          alarm == net::Never() ? nullptr : &timeout, nullptr);
  // An embedder's signal handler may interrupt the wait: then nothing is ready.
  if (ready >= 0) return;
  for (pollfd& polled : polled_) polled.revents = 0;
}

void Supervisor::TakeSignals(Instant now) {
  if (polled_[kSignals].revents != 0) {
    while (const absl::optional<siginfo_t> taken = parts_.signals->TryTake()) {
      switch (taken->si_signo) {
        case SIGTERM:
        case SIGINT:
          RequestStop(now);
          break;
        default:
          log().NotSupported(taken->si_signo);
      }
    }
  }
  if (polled_[kDrainRequest].revents != 0) {
    // They add up until they are read; more than a third changes nothing.
    eventfd_t requests = 0;
    eventfd_read(parts_.drain_request_fd, &requests);
    for (eventfd_t n = 0; n < std::min<eventfd_t>(requests, 3); ++n) {
      RequestStop(now);
    }
  }
}

void Supervisor::CleanupChildren(Instant now) {
  if (polled_[kDeaths].revents == 0 && now < reaper().next_check()) return;
  reaper().CleanupChildren(now, [&](const proc::Reaper::Ended& ended) {
    // Copied: retiring the slot makes it somebody else's.
    const Scoreboard::Entry entry = scoreboard_.entry(ended.tag);
    scoreboard_.Retire(ended.tag, ended.status);
    admission_.ChildEnded();
    log().Ended(ended.pid, entry.peer, ended.status, entry.signalled_by_us,
                absl::FromChrono(now - entry.accepted_at),
                scoreboard_.running(), admission_.max_connections());
  });
}

void Supervisor::StepLifecycle(Instant now) {
  for (;;) {
    switch (lifecycle_.Step(now, scoreboard_.running())) {
      case Lifecycle::Action::kNone:
        if (lifecycle_.stopped()) log().Stopped(scoreboard_.totals());
        return;
      case Lifecycle::Action::kTerminate:
        for (size_t i = 0; i < parts_.listeners.size(); ++i) CloseListener(i);
        if (scoreboard_.running() == 0) break;
        log().Terminating(scoreboard_.running());
        SignalChildren(SIGTERM);
        // One that is stopped hears of it only when it goes on.
        SignalChildren(SIGCONT);
        break;
      case Lifecycle::Action::kKill:
        log().Killing(scoreboard_.running());
        SignalChildren(SIGKILL);
        break;
    }
  }
}

// A bounded batch from each listener that has something, or that must be
// emptied before it can be closed.
void Supervisor::AcceptBatch(Instant now) {
  if (!lifecycle_.accepting()) return;
  // At the cap a slot becomes free now and then. Whoever had the last one is
  // asked last for the next, or a busy listener would starve the others.
  const size_t count = parts_.listeners.size();
  const size_t first = next_listener_;
  for (size_t turn = 0; turn < count; ++turn) {
    const size_t i = (first + turn) % count;
    const bool ready = polled_[kFirstListener + i].revents != 0;
    if (!parts_.listeners[i].open() || !(ready || lifecycle_.draining())) {
      continue;
    }
    for (int n = 0; n < kAcceptBatch && AcceptOne(i, now); ++n) {
    }
  }
  const bool all_closed = std::none_of(
      parts_.listeners.begin(), parts_.listeners.end(),
      [](const net::Listener& listener) { return listener.open(); });
  if (!all_closed) return;
  if (!lifecycle_.draining()) {
    status_ = absl::UnavailableError("every listener is dead");
    RequestStop(now);
  }
  lifecycle_.QueueIsEmpty();
  StepLifecycle(now);
}

// Takes one connection from listener `index`. False if there is no use in
// trying it again in this turn.
bool Supervisor::AcceptOne(size_t index, Instant now) {
  if (!admission_.Open(scoreboard_.running(), now)) return false;
  net::Listener& listener = parts_.listeners[index];
  if (lifecycle_.draining() && drain_quota_[index]-- == 0) {
    CloseListener(index);
    return false;
  }
  net::Accepted accepted = listener.Accept();
  switch (accepted.verdict) {
    case net::AcceptVerdict::kAccepted:
      next_listener_ = (index + 1) % parts_.listeners.size();
      Dispatch(*std::move(accepted.connection), now);
      return true;
    case net::AcceptVerdict::kNoneWaiting:
      if (lifecycle_.draining()) CloseListener(index);
      return false;
    case net::AcceptVerdict::kTryNext:
      log().AcceptFailed(listener.endpoint(), accepted.error, now);
      return true;
    case net::AcceptVerdict::kPause:
      log().AcceptPaused(listener.endpoint(), accepted.error,
                         admission_.Pause(now), now);
      return false;
    case net::AcceptVerdict::kDead:
      log().ListenerDead(listener.endpoint(), accepted.error);
      CloseListener(index);
      return false;
  }
  return false;
}

// From here on the connection has a fate: a process, or a record that there
// could be none.
void Supervisor::Dispatch(net::Connection connection, Instant now) {
  const net::Endpoint peer = connection.peer();
  const Scoreboard::Slot slot = scoreboard_.Claim(connection);
  absl::StatusOr<proc::Child> child =
      parts_.strategy->Dispatch(std::move(connection));
  if (!child.ok()) {
    scoreboard_.RetireUnforked(slot);
    log().ForkFailed(peer, child.status(), admission_.Pause(now), now);
    return;
  }
  const pid_t pid = child->pid();
  scoreboard_.Started(slot, pid);
  reaper().Adopt(*std::move(child), slot);
  admission_.Succeeded();
  log().Forked(pid, peer, scoreboard_.running(), admission_.max_connections());
}

void Supervisor::RequestStop(Instant now) {
  const bool first = lifecycle_.state() < Lifecycle::State::kDraining;
  lifecycle_.RequestStop(now);
  if (!first) return;
  log().Draining(scoreboard_.running(),
                 net::TimeUntil(lifecycle_.deadline(), now));
  for (size_t i = 0; i < parts_.listeners.size(); ++i) {
    drain_quota_[i] = parts_.listeners[i].queued() + kLatecomers;
  }
}

// An error means that the child has just been reaped by somebody else, which
// the reaper will find out.
void Supervisor::SignalChildren(int signal) {
  scoreboard_.ForEachLive(
      [&](Scoreboard::Slot slot, const Scoreboard::Entry& entry) {
        scoreboard_.Signalled(slot);
        reaper().Signal(entry.pid, signal).IgnoreError();
      });
}

void Supervisor::CloseListener(size_t index) {
  net::Listener& listener = parts_.listeners[index];
  if (!listener.open()) return;
  // First, or a child would close the connection that is given this number
  // next.
  parts_.strategy->Unhide(listener.fd());
  listener.Close();
  polled_[kFirstListener + index] = {-1, 0, 0};
}

}  // namespace brood::server

#include "brood/server/supervisor/supervisor.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "brood/proc/stack_page.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

using net::Instant;
using proc::SyncPoint;

// How many connections a listener may bring in one turn before signals, deaths
// and the other listeners have theirs.
constexpr int kAcceptBatch = 16;

// How long news of the strategy's may wait for a turn that has another reason.
constexpr absl::Duration kNewsDelay = absl::Milliseconds(2);

// How often everything is looked at when the kernel can't say what is ready.
constexpr absl::Duration kBlindPeriod = absl::Milliseconds(10);

// The fixed places of poll_.
enum { kSignals, kDeaths, kRequests, kStrategy, kUpgrade, kFirstListener };

}  // namespace

Supervisor::Supervisor(const Options& options, Parts parts)
    : parts_(std::move(parts)),
      lifecycle_(options.drain_grace),
      admission_(options.Capacity()),
      scoreboard_(options.Capacity()),
      on_connection_end_(options.on_connection_end),
      listeners_(std::move(parts_.listeners)) {
  const int signals_fd = parts_.signals ? parts_.signals->fd() : -1;
  const int upgrade_fd = parts_.upgrade ? parts_.upgrade->fd() : -1;
  constexpr int kNotYet = -1;  // see Start()
  for (int fd : {signals_fd, reaper().fd(), parts_.requests->fd(), kNotYet,
                 upgrade_fd}) {
    poll_.Add(fd);
    hidden_.emplace_back(fd);
  }
  for (size_t i = 0; i < listeners_.size(); ++i) {
    poll_.Add(listeners_.fd(i));
    log().Listening(listeners_.endpoint(i));
  }
  hidden_.emplace_back(log().own_fd());
  lifecycle_.Started();
}

// At once, whatever it was doing: a connection that was accepted now, and a
// process that was made, would only be killed.
Supervisor::~Supervisor() {
  for (int n = 0; n < Requests::kMostDrains; ++n) RequestStop(net::Now());
  StepLifecycle(net::Now());
  while (!lifecycle_.stopped()) {
    SignalChildren(SIGKILL);
    RequestStop(net::Now());
    Turn(Lifecycle::kKillDelay);
  }
}

absl::Status Supervisor::Start() {
  absl::Status started = parts_.strategy->Start();
  // It may have opened it just now.
  poll_.Set(kStrategy, parts_.strategy->fd());
  hidden_[kStrategy] = proc::HiddenFd(parts_.strategy->fd());
  return started;
}

absl::Status Supervisor::PrepareToServe() {
  absl::Status ready = parts_.strategy->Prepare();
  if (!ready.ok()) return ready;
  if (std::exchange(said_ready_, true)) return absl::OkStatus();
  if (parts_.predecessor) parts_.predecessor->SayReady();
  parts_.predecessor.reset();
  if (parts_.service_manager) parts_.service_manager->Ready();
  return absl::OkStatus();
}

absl::Status Supervisor::Run() {
  absl::Status ready = PrepareToServe();
  if (!ready.ok()) return ready;
  proc::OnOwnStackPage([this] {
    while (Turn(absl::InfiniteDuration())) {
    }
  });
  return status_;
}

absl::StatusOr<bool> Supervisor::Step(absl::Duration patience) {
  absl::Status ready = PrepareToServe();
  if (!ready.ok()) return ready;
  bool goes_on = false;
  proc::OnOwnStackPage([&] { goes_on = Turn(patience); });
  if (goes_on) return true;
  if (!status_.ok()) return status_;
  return false;
}

absl::StatusOr<int> Supervisor::PollableFd() {
  return poll_.Fd(ChooseWhatToPoll(net::Now()));
}

bool Supervisor::Turn(absl::Duration patience) {
  if (lifecycle_.stopped()) return false;
  AwaitEvents(patience);
  const Instant now = net::Now();
  TakeRequests(now);
  CleanupChildren(now);
  EnforceDeadlines(now);
  StepLifecycle(now);
  if (lifecycle_.stopped()) return false;
  StepUpgrade(now);
  MaintainStrategy(now);
  AcceptBatch(now);
  if (poll_.has_fd()) poll_.Announce(ChooseWhatToPoll(now));
  return !lifecycle_.stopped();
}

void Supervisor::AwaitEvents(absl::Duration patience) {
  const Instant now = net::Now();
  const Instant alarm =
      std::min(net::After(now, patience), ChooseWhatToPoll(now));
  SyncPoint("supervisor: about to poll");
  const int error = poll_.Await(now, alarm);
  if (error == 0) return;
  log().CallFailed("poll", error, now);
  absl::SleepFor(std::min(patience, kBlindPeriod));
}

// A listener is polled only when a connection from it could be served: full
// means not listening. Gives the time at which there is something to do though
// nothing happens.
Instant Supervisor::ChooseWhatToPoll(Instant now) {
  const bool open = lifecycle_.accepting() && MayAccept(now);
  for (size_t i = 0; i < listeners_.size(); ++i) {
    poll_.Set(kFirstListener + i, open ? listeners_.fd(i) : -1);
  }
  const bool wait = NewsCanWait(now);
  poll_.Set(kStrategy, wait ? -1 : parts_.strategy->fd());
  return std::min({wait ? news_due_ : net::Never(), reaper().next_check(),
                   lifecycle_.deadline(), admission_.resume_at(now),
                   parts_.strategy->next_maintenance(),
                   parts_.deadlines ? parts_.deadlines->next() : net::Never(),
                   parts_.upgrade ? parts_.upgrade->deadline() : net::Never()});
}

// For kNewsDelay after a connection was given away: the next one is likely to
// wake us before that, and one turn then serves both.
bool Supervisor::NewsCanWait(Instant now) const {
  return now < news_due_ && parts_.strategy->fd() >= 0 &&
         !parts_.strategy->Urgent();
}

void Supervisor::TakeRequests(Instant now) {
  const bool signalled = poll_.Came(kSignals);
  if (signalled) parts_.signals->Forward();
  if (!signalled && !poll_.Came(kRequests)) return;
  const Requests::Taken taken = parts_.requests->Take();
  SyncPoint("supervisor: requests taken");
  for (int i = 0; i < taken.drains; ++i) RequestStop(now);
  if (taken.upgrade) StartUpgrade(now);
}

void Supervisor::CleanupChildren(Instant now) {
  if (!poll_.Came(kDeaths) && now < reaper().next_check()) return;
  SyncPoint("supervisor: about to reap");
  reaper().CleanupChildren(now, [&](const proc::Reaper::Ended& ended) {
    if (ended.tag == Upgrade::kTag) {
      parts_.upgrade->Ended(ended.status);
    } else {
      parts_.strategy->ChildEnded(ended, *this);
    }
  });
}

void Supervisor::StartUpgrade(Instant now) {
  if (parts_.upgrade == nullptr) {
    log().UpgradeIgnored("this program was not told how to (upgrade_command)");
    return;
  }
  if (lifecycle_.state() != Lifecycle::State::kServing) {
    log().UpgradeIgnored("this server is stopping");
    return;
  }
  parts_.upgrade->Start(listeners_.ToHandOver(), now);
}

void Supervisor::StepUpgrade(Instant now) {
  if (parts_.upgrade == nullptr) return;
  if (!poll_.Came(kUpgrade) && now < parts_.upgrade->deadline()) return;
  if (!parts_.upgrade->Step(now)) return;
  lifecycle_.HandOver(now);
  EmptyQueues(now);
}

// By SIGKILL, which a child can't mask, and which ends one that is stopped.
void Supervisor::EnforceDeadlines(Instant now) {
  if (parts_.deadlines == nullptr) return;
  parts_.deadlines->Check(now, [&](Scoreboard::Slot slot, KillReason reason) {
    const Scoreboard::Entry& entry = scoreboard_.entry(slot);
    if (entry.pid == 0) return;  // there is no process yet
    if (!entry.signalled_by_us) log().Expired(entry.pid, entry.peer, reason);
    scoreboard_.Signalled(slot, reason);
    SyncPoint("supervisor: deadline over");
    reaper().Signal(entry.pid, SIGKILL).IgnoreError();
  });
}

void Supervisor::StepLifecycle(Instant now) {
  if (lifecycle_.stopped()) return;
  for (;;) {
    switch (lifecycle_.Step(now, LiveChildren())) {
      case Lifecycle::Action::kNone:
        if (lifecycle_.stopped()) log().Stopped(scoreboard_.totals());
        return;
      case Lifecycle::Action::kTerminate:
        listeners_.InTurn([this](size_t i) { CloseListener(i); });
        ListenersClosed();
        if (LiveChildren() == 0) break;
        log().Terminating(scoreboard_.running());
        SyncPoint("supervisor: about to terminate");
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

void Supervisor::MaintainStrategy(Instant now) {
  if (poll_.Came(kStrategy) || poll_.LeftOut(kStrategy)) {
    parts_.strategy->Attend(*this);
  }
  parts_.strategy->Maintain(now, poll_.quiet(), *this);
}

// A bounded batch from each listener that has something, or that must be
// emptied before it can be closed.
void Supervisor::AcceptBatch(Instant now) {
  if (!lifecycle_.accepting()) return;
  listeners_.InTurn([&](size_t i) {
    const bool ready = poll_.Came(kFirstListener + i);
    if (!ready && !lifecycle_.draining()) return;
    for (int n = 0; n < kAcceptBatch && AcceptOne(i, now); ++n) {
    }
  });
  if (!listeners_.all_closed()) return;
  if (!lifecycle_.draining()) {
    status_ = absl::UnavailableError("every listener is dead");
    RequestStop(now);
  }
  if (lifecycle_.draining()) ListenersClosed();
  lifecycle_.QueueIsEmpty();
  StepLifecycle(now);
}

bool Supervisor::MayAccept(Instant now) const {
  const bool other_accepts =
      parts_.upgrade != nullptr && parts_.upgrade->other_accepts();
  return admission_.Open(scoreboard_.running(), now) &&
         parts_.strategy->HasRoom() &&
         (!other_accepts || lifecycle_.draining());
}

// Takes one connection from listener `index`. False if there is no use in
// trying it again in this turn.
bool Supervisor::AcceptOne(size_t index, Instant now) {
  if (!MayAccept(now)) return false;
  if (lifecycle_.draining() && !listeners_.AllowsOneMore(index)) {
    CloseListener(index);
    return false;
  }
  net::Accepted accepted = listeners_.Accept(index);
  switch (accepted.verdict) {
    case net::AcceptVerdict::kAccepted:
      Dispatch(*std::move(accepted.connection));
      return true;
    case net::AcceptVerdict::kNoneWaiting:
      if (lifecycle_.draining()) CloseListener(index);
      return false;
    case net::AcceptVerdict::kTryNext:
      log().AcceptFailed(listeners_.endpoint(index), accepted.error, now);
      return true;
    case net::AcceptVerdict::kPause:
      log().AcceptPaused(listeners_.endpoint(index), accepted.error,
                         admission_.Pause(now), now);
      return false;
    case net::AcceptVerdict::kDead:
      log().ListenerDead(listeners_.endpoint(index), accepted.error);
      CloseListener(index);
      return false;
  }
  return false;
}

// From here on the connection has a fate: a process, or a record that there
// could be none.
void Supervisor::Dispatch(net::Connection connection) {
  SyncPoint("supervisor: accepted");
  const Scoreboard::Slot slot = scoreboard_.Claim(connection);
  if (parts_.deadlines != nullptr) parts_.deadlines->Watch(slot, connection);
  news_due_ = net::After(connection.accepted_at(), kNewsDelay);
  SyncPoint("supervisor: about to dispatch");
  parts_.strategy->Dispatch(slot, std::move(connection), *this);
  SyncPoint("supervisor: dispatched");
}

void Supervisor::Serving(Scoreboard::Slot slot, pid_t pid, Instant since) {
  scoreboard_.Started(slot, pid, since);
  admission_.Succeeded();
  log().Forked(pid, scoreboard_.entry(slot).peer, scoreboard_.running(),
               admission_.max_connections());
  // Its birth may have become known only after the others were told to end.
  if (lifecycle_.state() == Lifecycle::State::kTerminating &&
      reaper().Signal(pid, SIGTERM).ok()) {
    scoreboard_.Signalled(slot, KillReason::kStop);
  }
}

void Supervisor::Ended(Scoreboard::Slot slot, pid_t pid,
                       const proc::ExitStatus& status, Instant at) {
  // Copied: retiring the slot makes it somebody else's.
  const Scoreboard::Entry entry = scoreboard_.entry(slot);
  SyncPoint("supervisor: about to retire");
  scoreboard_.Retire(slot, status);
  Forget(slot);
  admission_.ChildEnded();
  // `at` may be the word of the child.
  const absl::Duration duration =
      absl::FromChrono(std::max(at, entry.started_at) - entry.accepted_at);
  log().Ended(pid, entry.peer, status, entry.signalled_by_us, duration,
              scoreboard_.running(), admission_.max_connections());
  if (!on_connection_end_) return;
  on_connection_end_({entry.peer, pid, status, entry.signalled_by_us,
                      absl::FromChrono(entry.started_at - entry.accepted_at),
                      duration});
}

// To a server that is being ended by force it came too late. One whose time was
// over has none left for another process.
void Supervisor::Returned(Scoreboard::Slot slot, net::Connection connection) {
  const Scoreboard::Entry entry = scoreboard_.entry(slot);
  if (entry.signalled_by_us && entry.kill_reason != KillReason::kStop) {
    Ended(slot, entry.pid, proc::ExitStatus::FromWait(SIGKILL, rusage{}),
          net::Now());
    return;
  }
  scoreboard_.Started(slot, /*pid=*/0, net::Now());
  if (lifecycle_.state() < Lifecycle::State::kTerminating) {
    parts_.strategy->Dispatch(slot, std::move(connection), *this);
  } else {
    scoreboard_.RetireShed(slot);
    Forget(slot);
  }
}

void Supervisor::Failed(Scoreboard::Slot slot, const absl::Status& why) {
  const net::Endpoint peer = scoreboard_.entry(slot).peer;
  const Instant now = net::Now();
  scoreboard_.RetireUnforked(slot);
  Forget(slot);
  log().ForkFailed(peer, why, admission_.Pause(now), now);
}

// Those that serve a connection, those that will have one as soon as a process
// is made, and the strategy's own that wait for work.
size_t Supervisor::LiveChildren() const {
  return std::max(scoreboard_.running(), parts_.reaper->live());
}

void Supervisor::RequestStop(Instant now) {
  const bool first = lifecycle_.state() < Lifecycle::State::kDraining;
  lifecycle_.RequestStop(now);
  if (!first) return;
  if (parts_.service_manager) parts_.service_manager->Stopping();
  if (parts_.upgrade != nullptr) parts_.upgrade->Abandon();
  EmptyQueues(now);
}

// Before the listeners are closed. With a successor that is no need for those
// that it listens on too, and no harm.
void Supervisor::EmptyQueues(Instant now) {
  log().Draining(scoreboard_.running(),
                 net::TimeUntil(lifecycle_.deadline(), now));
  listeners_.AllowLatecomers();
}

void Supervisor::Forget(Scoreboard::Slot slot) {
  if (parts_.deadlines != nullptr) parts_.deadlines->Forget(slot);
}

void Supervisor::SignalChildren(int signal) {
  scoreboard_.ForEachLive(
      [&](Scoreboard::Slot slot, const Scoreboard::Entry& /*entry*/) {
        scoreboard_.Signalled(slot, KillReason::kStop);
      });
  reaper().SignalAll(signal);
}

// No connection will come any more.
void Supervisor::ListenersClosed() {
  parts_.strategy->Close();
  if (parts_.upgrade != nullptr) parts_.upgrade->ListenersClosed();
}

void Supervisor::CloseListener(size_t index) {
  SyncPoint("supervisor: about to close a listener");
  poll_.Forget(kFirstListener + index, listeners_.fd(index));
  listeners_.Close(index);
}

}  // namespace brood::server

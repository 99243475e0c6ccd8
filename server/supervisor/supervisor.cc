// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "brood/net/listener.h"
#include "brood/proc/memory/stack_page.h"
#include "brood/proc/sync_point.h"
#include "brood/server/supervisor/memory_allows.h"
#include "brood/server/vocabulary/child_tag.h"

namespace brood::server {
namespace {

using net::Instant;
using proc::SyncPoint;

// The largest number of connections that a listener brings in one turn, before
// signals, exits and the other listeners have their turn again.
constexpr int kAcceptBatch = 16;

// The fixed sources of the poll set, for the log.
constexpr const char* kSourceNames[] = {
    "signals", "requests",    "exits",    "deadlines", "lifecycle",
    "upgrade", "generations", "strategy", "admission"};
// How many bytes of the stack the logging of an event may use.
constexpr size_t kDepthOfLog = 12 << 10;

// How often every source is tried when the kernel cannot report which are
// ready.
constexpr absl::Duration kBlindPeriod = absl::Milliseconds(10);

}  // namespace

Supervisor::Supervisor(const Options& options, Parts parts)
    : on_parent_death_(options.on_parent_death),
      clock_(parts.clock),
      log_(*parts.log),
      requests_(*parts.requests),
      signals_(std::move(parts.signals)),
      handshake_(std::move(parts.handshake)),
      service_manager_(std::move(parts.service_manager)),
      reaper_(std::move(parts.reaper)),
      strategy_(std::move(parts.strategy)),
      generations_(std::move(parts.generations)),
      upgrade_(std::move(parts.upgrade)),
      listeners_(std::move(parts.listeners)),
      listener_settings_(options),
      accept_failures_(listeners_.size()),
      lifecycle_(options.drain_grace),
      connections_(options, std::move(parts.deadlines), reaper_.get(), &log_,
                   parts.reports) {
  for (size_t i = 0; i < kFirstListener + listeners_.size(); ++i) poll_.Add();
  lifecycle_.Started();
}

absl::Status Supervisor::Start() {
  identity_ = proc::ProcessIdentity::Look();
  absl::Status started = strategy_->Start();
  return started.ok() ? Rehearse(strategy_->RehearseAtStart()) : started;
}

absl::Status Supervisor::PrepareToServe() {
  absl::Status ready = strategy_->Prepare();
  if (ready.ok()) ready = FollowIdentity();
  if (!ready.ok() || reported_ready_) return ready;
  ready = Rehearse(strategy_->RehearseToServe());
  if (!ready.ok()) return ready;
  reported_ready_ = true;
  for (size_t i = 0; i < listeners_.size(); ++i) {
    log_.Listening(listeners_.endpoint(i));
  }
  handshake_.ReportReady();
  service_manager_->Ready();
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

absl::StatusOr<bool> Supervisor::Step(absl::Duration timeout) {
  absl::Status ready = PrepareToServe();
  if (!ready.ok()) return ready;
  bool goes_on = false;
  proc::OnOwnStackPage([&] { goes_on = Turn(timeout); });
  if (goes_on) return true;
  if (!status_.ok()) return status_;
  return false;
}

absl::StatusOr<int> Supervisor::PollableFd() {
  ChooseWhatToPoll(clock_());
  return poll_.Fd();
}

bool Supervisor::Turn(absl::Duration timeout) {
  if (lifecycle_.stopped()) return false;
  const Instant now = Wait(timeout);
  Take(&Supervisor::AttendGenerations, now);
  Take(&Supervisor::TakeRequests, now);
  Take(&Supervisor::CleanupChildren, now);
  Take(&Supervisor::KillExpired, now);
  Take(&Supervisor::StepLifecycle, now);
  if (!lifecycle_.stopped()) {
    Take(&Supervisor::StepUpgrade, now);
    Take(&Supervisor::MaintainStrategy, now);
    Take(&Supervisor::DispatchWaiting, now);
    CloseStrategy();
    Take(&Supervisor::AcceptBatch, now);
  }
  connections_.SendReports();
  Take(&Supervisor::Publish, now);
  return !lifecycle_.stopped();
}

// The memory for connections was allocated before the first one, but a rare
// step, such as the start of a program, may allocate. The server sleeps so that
// it does not spin.
void Supervisor::Take(void (Supervisor::*step)(Instant), Instant now) {
  if (MemoryAllows([&] { (this->*step)(now); })) return;
  log_.CallFailed("operator new", ENOMEM, now);
  absl::SleepFor(kBlindPeriod);
}

Instant Supervisor::Wait(absl::Duration timeout) {
  const Instant now = clock_();
  ChooseWhatToPoll(now);
  SyncPoint("supervisor: about to poll");
  const int error = poll_.Wait(now, net::After(now, timeout));
  if (error != 0) {
    log_.CallFailed("poll", error, now);
    absl::SleepFor(std::min(timeout, kBlindPeriod));
  }
  if (const absl::optional<size_t> paused = poll_.paused()) {
    log_.PollPaused(
        *paused < kFirstListener ? kSourceNames[*paused] : "listener",
        PollSet::kPeriod, now);
  }
  return clock_();
}

// A full server does not listen: the kernel's backlog is the queue.
void Supervisor::ChooseWhatToPoll(Instant now) {
  poll_.Set(kSignals, signals_.fd());
  poll_.Set(kRequests, requests_.fd());
  poll_.Set(kExits, reaper_->fd(), reaper_->next_check());
  poll_.Set(kDeadlines, -1, connections_.next_deadline());
  poll_.Set(kLifecycle, -1, lifecycle_.next_step());
  poll_.Set(kUpgrade, upgrade_->fd(), upgrade_->deadline());
  poll_.Set(kGenerations, generations_->fd());
  poll_.Set(kStrategy, strategy_->fd(now), strategy_->alarm(now));
  poll_.Set(kAdmission, -1, connections_.resume_at(now));
  const bool open = lifecycle_.accepting() && MayAccept(now);
  for (size_t i = 0; i < listeners_.size(); ++i) {
    // A listener whose queue is empty may have to wait before it is closed. The
    // alarm is set even if that time has passed since the last turn.
    const Instant may_close = listeners_.may_close_at(i);
    const bool closes = listeners_.open(i) && may_close != Instant::min();
    const Instant resume = accept_failures_[i].resume_at(now);
    if (open && resume != net::Never()) {
      poll_.Set(kFirstListener + i, -1, resume);
      continue;
    }
    poll_.Set(kFirstListener + i, open ? listeners_.fd(i) : -1,
              open && closes ? may_close : net::Never());
  }
}

void Supervisor::TakeRequests(Instant now) {
  const bool signalled = poll_.IsReadable(kSignals) || signals_.IsWaiting();
  if (signalled) signals_.Forward();
  if (!signalled && !poll_.IsReadable(kRequests)) return;
  const Requests::Taken asked = requests_.Take();
  if (asked.stops > 0 || asked.upgrade) {
    poll_.Used(kSignals);
    poll_.Used(kRequests);
  }
  const Requests::Taken taken = generations_->Route(asked);
  SyncPoint("supervisor: requests taken");
  for (int i = 0; i < taken.stops; ++i) RequestStop(now);
  if (taken.upgrade) StartUpgrade(now);
}

void Supervisor::CleanupChildren(Instant now) {
  if (poll_.Due(kExits, now)) TakeEnds(now);
}

// A child that another process created for this one is registered before the
// reaper looks for exits; or, if it was created meanwhile, right after.
void Supervisor::TakeEnds(Instant now) {
  SyncPoint("supervisor: about to reap");
  strategy_->AdoptSpawned();
  // Slots of dead children that a tracer holds matter only if no other slot is
  // free, or if the server kills children.
  reaper_->LookForHeld(killing_ || connections_.is_full());
  for (const proc::Reaper::Ended& ended : reaper_->CleanupChildren(now)) {
    poll_.Used(kExits);
    const ChildTag tag = ChildTag::Unpack(ended.tag);
    if (tag.kind == ChildTag::Kind::kProgram) {
      ProgramEnded(ended, now);
    } else if (tag.kind == ChildTag::Kind::kRehearsal) {
      RehearsalEnded(ended);
    } else {
      strategy_->ChildEnded(tag, ended, now, connections_);
    }
  }
  strategy_->AdoptSpawned();
  reaper_->ForgetUnclaimed();
}

void Supervisor::DispatchWaiting(Instant now) {
  connections_.DispatchWaiting(now, *strategy_);
}

void Supervisor::KillExpired(Instant now) {
  if (poll_.Due(kDeadlines, now)) connections_.KillExpired(now);
}

void Supervisor::MaintainStrategy(Instant now) {
  if (poll_.IsReadable(kStrategy) || poll_.IsMasked(kStrategy)) {
    const uint64_t before = connections_.strategy_reports();
    strategy_->Attend(now, connections_);
    if (connections_.strategy_reports() != before) poll_.Used(kStrategy);
  }
  // A child that is created next gets a copy of the stack: data of an earlier
  // client must not be on it. WipeStackPage() comes last, because it has no
  // frame of its own.
  if (log_.TakeHasWritten()) proc::WipeStack(kDepthOfLog);
  proc::WipeStackPage();
  strategy_->Maintain(now, poll_.timed_out(), connections_);
}

// While the server drains, a listener must be emptied before it can be closed.
void Supervisor::AcceptBatch(Instant now) {
  if (!lifecycle_.accepting()) return;
  listeners_.InTurn([&](size_t i) {
    const bool ready = poll_.IsReadable(kFirstListener + i);
    if (!ready && !lifecycle_.draining()) return;
    for (int n = 0; n < kAcceptBatch; ++n) {
      if (log_.TakeHasWritten()) proc::WipeStack(kDepthOfLog);
      proc::WipeStackPage();
      if (!AcceptOne(i, now)) break;
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

void Supervisor::CountLeftInQueue() {
  if (!HasListenersToItself()) return;
  const size_t left = listeners_.queued();
  if (left > 0) connections_.LeftInQueue(left);
}

bool Supervisor::MayAccept(Instant now) const {
  return !(upgrade_->other_accepts() && !lifecycle_.draining()) &&
         connections_.MayAccept(now) && strategy_->HasRoom();
}

bool Supervisor::AcceptOne(size_t index, Instant now) {
  AcceptFailures& failures = accept_failures_[index];
  if (!MayAccept(now) || failures.resume_at(now) != net::Never()) return false;
  if (lifecycle_.draining() && !listeners_.AllowsOneMore(index)) {
    CloseListener(index);
    return false;
  }
  net::Accepted accepted = listeners_.Accept(index);
  if (accepted.verdict != net::AcceptVerdict::kNoneWaiting) {
    poll_.Used(kFirstListener + index);
  }
  switch (accepted.verdict) {
    case net::AcceptVerdict::kAccepted:
      failures.Succeeded();
      connections_.Dispatch(*std::move(accepted.connection), *strategy_);
      return true;
    case net::AcceptVerdict::kNoneWaiting:
      failures.Succeeded();
      if (lifecycle_.draining() && now >= listeners_.may_close_at(index)) {
        CloseListener(index);
      }
      return false;
    case net::AcceptVerdict::kTryNext:
      if (const auto pause = failures.Failed(now)) {
        log_.AcceptPaused(listeners_.endpoint(index), accepted.error, *pause,
                          now);
        return false;
      }
      log_.AcceptFailed(listeners_.endpoint(index), accepted.error, now);
      return true;
    case net::AcceptVerdict::kPause:
      if (accepted.error == EMFILE) strategy_->FreeDescriptors();
      log_.AcceptPaused(listeners_.endpoint(index), accepted.error,
                        connections_.Pause(now), now);
      return false;
    case net::AcceptVerdict::kDead:
      if (!lifecycle_.draining()) {
        log_.ListenerDead(listeners_.endpoint(index), accepted.error);
      }
      CloseListener(index);
      return false;
  }
  return false;
}

void Supervisor::Publish(Instant now) {
  if (!poll_.has_fd()) return;
  ChooseWhatToPoll(now);
  poll_.Publish();
}

void Supervisor::RequestStop(Instant now) {
  lifecycle_.RequestStop(now);
  generations_->StopAll();
  if (std::exchange(stopping_, true)) return;
  service_manager_->Stopping();
  upgrade_->Abandon();
  DrainListeners(now);
  if (HasListenersToItself()) listeners_.RefuseNewcomers(now);
}

bool Supervisor::HasListenersToItself() {
  return upgrade_->idle() && handshake_.IsSoleHolder();
}

// Closing a listener resets the clients in its queue, so they are accepted
// first. If a new program has taken over, that is only needed for listeners
// that it does not use, and does no harm for the others.
void Supervisor::DrainListeners(Instant now) {
  log_.Draining(connections_.running(),
                net::TimeUntil(lifecycle_.deadline(), now));
  listeners_.AllowLatecomers();
}

void Supervisor::CloseListeners() {
  listeners_.InTurn([this](size_t i) { CloseListener(i); });
  ListenersClosed();
}

void Supervisor::CloseListener(size_t index) {
  SyncPoint("supervisor: about to close a listener");
  poll_.Forget(kFirstListener + index, listeners_.fd(index));
  listeners_.Close(index, /*end_listening=*/HasListenersToItself());
}

void Supervisor::ListenersClosed() {
  all_accepted_ = true;
  CloseStrategy();
  upgrade_->ListenersClosed();
}

void Supervisor::CloseStrategy() {
  if (!all_accepted_ || connections_.has_waiting()) return;
  if (!std::exchange(strategy_closed_, true)) strategy_->Close();
}

}  // namespace brood::server

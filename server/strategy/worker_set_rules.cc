// SPDX-License-Identifier: Apache-2.0

// The rules for workers: what a worker may report, and when it must exit. A
// worker may break them, because its client may have compromised it. Whatever a
// worker does costs the parent one SIGKILL, and no work after that.

#include <algorithm>
#include <csignal>

#include "absl/status/statusor.h"
#include "brood/server/strategy/worker_set.h"

namespace brood::server {

absl::optional<WorkerSet::Finished> WorkerSet::TakeReport(Index index,
                                                          net::Instant now) {
  Worker& worker = workers_[index];
  if (worker.state == State::kAbsent || worker.is_condemned) {
    return absl::nullopt;
  }
  const auto received = WorkerReports::Receive(worker.queue->fd_to_offer(),
                                               worker.assigned_at, now);
  if (received.ok() && !received->has_value()) return absl::nullopt;
  const absl::string_view wrong = received.ok()
                                      ? Complaint(worker, (*received)->report)
                                      : received.status().message();
  if (!wrong.empty()) {
    Condemn(index, wrong, now);
    return absl::nullopt;
  }
  MarkReady(worker);
  if ((*received)->report.leaves != 0) {
    worker.state = State::kLeaving;
    next_end_ = net::Instant::min();
  } else {
    worker.state = State::kIdle;
    idle_.push_back(index);
    // A worker that wants to go on after its share is told to exit.
    if (worker.generation != generation_ || worker.end_at <= now ||
        worker.connections >= settings_.most_connections) {
      Dismiss(index);
    }
  }
  return Finished{worker.slot, worker.pid, **received};
}

absl::string_view WorkerSet::Complaint(const Worker& worker,
                                       const WorkerReports::Report& report) {
  if (worker.state != State::kServing || report.serial != worker.serial) {
    return "it reported a connection that it does not serve";
  }
  if (!worker.queue->Empty()) {
    return "it reported a connection that it has not taken over";
  }
  return "";
}

// Keeps the earliest deadline of all connections of the worker.
void WorkerSet::Bound(Index index, net::Instant deadline) {
  Worker& worker = workers_[index];
  worker.end_at = std::min(worker.end_at, deadline);
  next_end_ = std::min(next_end_, worker.end_at);
}

// Stops watching the channel of the worker: if the worker breaks the rule
// permanently, the parent has no more work with it.
void WorkerSet::Condemn(Index index, absl::string_view why, net::Instant now) {
  Worker& worker = workers_[index];
  worker.is_condemned = true;
  environment_.log->WorkerDismissed(worker.pid, why, now);
  if (settings_.reports != nullptr) {
    settings_.reports->Unwatch(worker.queue->fd_to_offer());
  }
  if (worker.state == State::kIdle) {
    NoLongerIdle(index);
    worker.state = State::kLeaving;
  }
  Kill(worker, now);
}

void WorkerSet::Kill(Worker& worker, net::Instant now) {
  environment_.reaper->Signal(worker.pid, SIGKILL).IgnoreError();
  worker.end_at = net::After(now, kLeaveTime);
  next_end_ = std::min(next_end_, worker.end_at);
}

void WorkerSet::EndOverdue(net::Instant now) {
  if (now < next_end_) return;
  next_end_ = net::Never();
  for (Index index = 0; index < workers_.size(); ++index) {
    Worker& worker = workers_[index];
    // A worker that serves gets no other connection; see TakeReport().
    if (worker.state == State::kAbsent ||
        (worker.state == State::kServing && !worker.is_condemned)) {
      continue;
    }
    if (worker.state == State::kLeaving && worker.end_at == net::Never()) {
      worker.end_at = net::After(now, kLeaveTime);
    }
    if (worker.end_at <= now) {
      if (worker.state == State::kIdle) Dismiss(index);
      Kill(worker, now);
    }
    next_end_ = std::min(next_end_, worker.end_at);
  }
}

}  // namespace brood::server

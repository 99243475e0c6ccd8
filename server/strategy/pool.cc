// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/pool.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/process_state.h"
#include "brood/proc/sync_point.h"
#include "brood/server/child/child_program.h"
#include "brood/server/handler.h"

namespace brood::server {
namespace {

// The most reports that are read in one turn.
constexpr int kReportBatch = 64;

// What a worker does: it serves connections one after the other, reports each,
// and exits when it has served its share or when a handler left the process
// changed. Created in the supervisor, copied to ordinary memory, runs in the
// worker.
class PoolWorker {
 public:
  PoolWorker(const ChildProgram* program, ReportSender reports,
             int connections_per_worker, uint32_t first_page)
      : program_(program),
        reports_(reports),
        first_page_(first_page),
        connections_per_worker_(connections_per_worker) {}

  // Returns the exit code of the worker.
  int Run(WorkerSet::Index index, net::HandoffQueue& queue) const;

 private:
  int HowManyToServe() const;

  const ChildProgram* program_;
  ReportSender reports_;
  uint32_t first_page_;
  int connections_per_worker_;
};

rusage Difference(const rusage& before, const rusage& after) {
  rusage used = after;
  timersub(&after.ru_utime, &before.ru_utime, &used.ru_utime);
  timersub(&after.ru_stime, &before.ru_stime, &used.ru_stime);
  used.ru_minflt -= before.ru_minflt;
  used.ru_majflt -= before.ru_majflt;
  used.ru_inblock -= before.ru_inblock;
  used.ru_oublock -= before.ru_oublock;
  used.ru_nvcsw -= before.ru_nvcsw;
  used.ru_nivcsw -= before.ru_nivcsw;
  return used;
}

int PoolWorker::Run(WorkerSet::Index index, net::HandoffQueue& queue) const {
  if (const auto failed = program_->EnterPage(first_page_ + index)) {
    return *failed;
  }
  proc::ProcessState pristine;
  rusage before;
  getrusage(RUSAGE_SELF, &before);
  for (int left = HowManyToServe();; --left) {
    absl::optional<net::HandoffQueue::Message> message =
        WorkerSet::AwaitConnection(queue);
    if (!message) break;
    // From here on the connection belongs to this process: if it dies now, the
    // connection has had its process.
    queue.Acknowledge();
    proc::SyncPoint("pool: acknowledged");
    const int code = program_->Serve(*message->connection);
    message->connection.reset();
    rusage after;
    getrusage(RUSAGE_SELF, &after);
    const bool failed = code == static_cast<int>(ExitCode::kHandlerFailed);
    const bool leaves = left <= 1 || failed;
    reports_.Send({index, message->ticket.serial, code, leaves ? 1u : 0u,
                   net::Now().time_since_epoch().count(),
                   Difference(before, after)});
    proc::SyncPoint("pool: reported");
    if (leaves || !pristine.Restore()) break;
    before = after;
  }
  return static_cast<int>(ExitCode::kServed);
}

// About the number that was asked for: workers that were created together must
// not all have to be replaced together.
int PoolWorker::HowManyToServe() const {
  const int quarter = connections_per_worker_ / 4;
  // Neighbours have successive pids, which this spreads.
  const auto spread = static_cast<unsigned>(getpid()) * 2654435761u >> 8;
  return connections_per_worker_ - quarter +
         static_cast<int>(spread % (2 * static_cast<unsigned>(quarter) + 1));
}

WorkerSet::Body BodyOf(const PoolWorker& worker) {
  return [worker](WorkerSet::Index index, net::HandoffQueue& queue) {
    return worker.Run(index, queue);
  };
}

}  // namespace

Pool::Pool(size_t size, int connections_per_worker,
           std::unique_ptr<Strategy> direct, WorkerReports reports,
           const StrategyEnvironment& environment)
    : size_(size),
      reaper_(environment.reaper),
      log_(environment.log),
      direct_(std::move(direct)),
      reports_(std::move(reports)),
      workers_(size, environment,
               BodyOf(PoolWorker(environment.program, reports_.sender(),
                                 connections_per_worker,
                                 static_cast<uint32_t>(size))),
               reports_.sender().fd(), static_cast<uint32_t>(size)) {}

void Pool::Dispatch(Slot slot, net::Connection connection, net::Instant now,
                    Events& events) {
  batching_.Dispatched(now);
  if (workers_.Assign(slot, connection, now, events)) return;
  direct_->Dispatch(slot, std::move(connection), now, events);
}

// A worker that reports and ends does so in this order, so its report is there.
void Pool::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                      net::Instant now, Events& events) {
  if (tag.kind == ChildTag::Kind::kWorker) {
    TakeReports(now, events);
    workers_.Ended(tag.index, ended, now, events);
  } else {
    direct_->ChildEnded(tag, ended, now, events);
  }
}

void Pool::TakeReports(net::Instant now, Events& events) {
  for (int n = 0; n < kReportBatch; ++n) {
    const absl::optional<WorkerReports::Received> received =
        reports_.TryReceive(now);
    if (!received) {
      // The worker counts as busy until its next report, or its end.
      const int error = errno;
      if (error != EAGAIN) log_->CallFailed("recvmsg", error, now);
      return;
    }
    const WorkerReports::Report& report = received->report;
    const absl::optional<Slot> slot = workers_.Finished(
        report.index, received->sender, report.serial, report.leaves != 0);
    if (!slot) continue;
    const int code = ChildProgram::ToExitCode(report.exit_code);
    events.Ended(*slot, received->sender,
                 proc::ExitStatus::Exited(code, report.usage),
                 received->done_at);
  }
}

void Pool::Maintain(net::Instant now, bool /*idle*/, Events& /*events*/) {
  if (closed_) {
    workers_.DismissIdle(0);
  } else if (Short()) {
    workers_.ForkUpTo(workers_.idle() + size_ - reaper_->live(), now);
  }
}

net::Instant Pool::alarm(net::Instant now) const {
  const net::Instant events_due =
      EventsWait(now) ? batching_.due(now) : net::Never();
  return Short() ? std::min(events_due, workers_.next_fork()) : events_due;
}

absl::Status Pool::BeginGeneration() {
  workers_.BeginGeneration();
  return absl::OkStatus();
}

void Pool::Close() {
  closed_ = true;
  workers_.DismissIdle(0);
}

}  // namespace brood::server

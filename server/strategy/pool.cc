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

// PoolWorker runs in a worker: it serves connections one after the other,
// reports each, and exits when it has served its share, or when the state that
// a handler has changed cannot be restored. Created in the supervisor, copied
// to ordinary memory, runs in the worker.
class PoolWorker {
 public:
  PoolWorker(const ChildProgram* program, int connections_per_worker,
             uint32_t first_page)
      : program_(program),
        first_page_(first_page),
        connections_per_worker_(connections_per_worker) {}

  // Runs the worker. Returns its exit code.
  int Run(WorkerSet::Index index, net::HandoffQueue& queue) const;

 private:
  int HowManyToServe() const;

  const ChildProgram* program_;
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
  const ReportSender sender(queue.fd_to_await());
  proc::ProcessState pristine;
  rusage before;
  getrusage(RUSAGE_SELF, &before);
  for (int left = HowManyToServe();; --left) {
    absl::optional<net::HandoffQueue::Message> message =
        WorkerSet::AwaitConnection(queue);
    if (!message) break;
    // From here on the connection belongs to this process: if the process dies
    // now, the connection is not given to another one.
    queue.Acknowledge();
    proc::SyncPoint("pool: acknowledged");
    const int code = program_->Serve(*message->connection);
    message->connection.reset();
    const int64_t done_at = net::Now().time_since_epoch().count();
    rusage after;
    getrusage(RUSAGE_SELF, &after);
    const bool failed = code == static_cast<int>(ExitCode::kHandlerFailed);
    // Before the report, so that every file that the handler left open is
    // closed by then.
    const bool leaves = left <= 1 || failed || !pristine.Restore();
    // A handler may have closed the channel, too; not if the state is restored.
    // Then this process must end, which the parent takes as the report.
    if ((leaves && !sender.IsIntact()) ||
        !sender.Send({WorkerReport::kMark, message->ticket.serial, code,
                      leaves ? 1u : 0u, done_at, Difference(before, after)})) {
      return code;
    }
    proc::SyncPoint("pool: reported");
    if (leaves) break;
    // After the report: a signal that the handler has left pending may end this
    // process, but the connection has been reported.
    pristine.RestoreMask();
    before = after;
  }
  return static_cast<int>(ExitCode::kServed);
}

// Returns about the number that was configured: workers that were created
// together must not all be replaced together.
int PoolWorker::HowManyToServe() const {
  const int quarter = connections_per_worker_ / 4;
  // Neighbours have successive pids, which this spreads.
  const auto spread = static_cast<unsigned>(getpid()) * 2654435761u >> 8;
  return connections_per_worker_ - quarter +
         static_cast<int>(spread % (2 * static_cast<unsigned>(quarter) + 1));
}

// Returns the most connections that HowManyToServe() returns.
int MostToServe(int connections_per_worker) {
  return connections_per_worker + connections_per_worker / 4;
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
               BodyOf(PoolWorker(environment.program, connections_per_worker,
                                 static_cast<uint32_t>(size))),
               {&reports_, static_cast<uint32_t>(size),
                MostToServe(connections_per_worker)}) {}

void Pool::Dispatch(Slot slot, net::Connection connection, net::Instant now,
                    Events& events) {
  batching_.Dispatched(now);
  if (workers_.Assign(slot, connection, now, events)) return;
  direct_->Dispatch(slot, std::move(connection), now, events);
}

// Reads the report first: a worker reports before it ends, so its report is
// there.
void Pool::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                      net::Instant now, Events& events) {
  if (tag.kind == ChildTag::Kind::kWorker) {
    TakeReport(tag.index, now, events);
    workers_.Ended(tag.index, ended, now, events);
  } else {
    direct_->ChildEnded(tag, ended, now, events);
  }
}

// Reads each channel that is readable. A channel that has something else than a
// report is not watched any more, so no channel can keep the parent busy.
void Pool::Attend(net::Instant now, Events& events) {
  WorkerReports::Ready ready;
  const int count = reports_.Find(&ready);
  for (int i = 0; i < count; ++i) TakeReport(ready[i], now, events);
  if (count >= 0) return;
  log_->CallFailed("epoll_wait", errno, now);
  for (WorkerSet::Index index = 0; index < size_; ++index) {
    TakeReport(index, now, events);
  }
}

void Pool::TakeReport(WorkerSet::Index index, net::Instant now,
                      Events& events) {
  const absl::optional<WorkerSet::Finished> finished =
      workers_.TakeReport(index, now);
  if (!finished) return;
  const WorkerReports::Received& received = finished->received;
  workers_.Bound(index, events.DeadlineOf(finished->slot));
  const int code = ChildProgram::ToExitCode(received.report.exit_code);
  events.Ended(finished->slot, finished->pid,
               proc::ExitStatus::Exited(code, received.report.usage),
               received.done_at);
}

void Pool::Maintain(net::Instant now, bool /*idle*/, Events& /*events*/) {
  if (closed_) {
    workers_.DismissIdle(0);
  } else if (Short()) {
    workers_.ForkUpTo(workers_.idle() + size_ - reaper_->live(), now);
  }
  workers_.EndOverdue(now);
}

net::Instant Pool::alarm(net::Instant now) const {
  const net::Instant due = std::min(
      EventsWait(now) ? batching_.due(now) : net::Never(), workers_.next_end());
  return Short() ? std::min(due, workers_.next_fork()) : due;
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

#include "brood/server/strategy/pool.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "brood/proc/exit_status.h"
#include "brood/proc/process_state.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

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

// How many reports are read before others have their turn.
constexpr int kReportBatch = 64;

}  // namespace

Pool::Pool(size_t workers, int connections_per_worker, ForkPerConnection direct,
           WorkerReports reports, proc::Reaper* reaper,
           const ChildProgram* program, EventLog* log)
    : max_workers_(workers),
      connections_per_worker_(connections_per_worker),
      reaper_(reaper),
      program_(program),
      log_(log),
      direct_(std::move(direct)),
      reports_(std::move(reports)),
      workers_(
          workers, reaper, log, program,
          [this](WorkerSet::Index index, net::HandoffQueue& queue) {
            return Live(index, queue);
          },
          reports_.fd_to_send()) {}

int Pool::Live(WorkerSet::Index index, const net::HandoffQueue& queue) const {
  proc::ProcessState pristine;
  rusage before;
  getrusage(RUSAGE_SELF, &before);
  for (int left = HowManyToServe();; --left) {
    absl::optional<net::HandoffQueue::Message> message =
        WorkerSet::AwaitConnection(queue);
    if (!message) break;
    // From here on it is ours: if we die, it has had its process.
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

// About the number that was asked for: workers that were made at once should
// not all have to be replaced at once.
int Pool::HowManyToServe() const {
  const int quarter = connections_per_worker_ / 4;
  // Pids of neighbours are neighbours too; this spreads them.
  const auto spread = static_cast<unsigned>(getpid()) * 2654435761u >> 8;
  return connections_per_worker_ - quarter +
         static_cast<int>(spread % (2 * static_cast<unsigned>(quarter) + 1));
}

void Pool::Dispatch(Slot slot, net::Connection connection, Events& events) {
  if (workers_.Assign(slot, connection, events)) return;
  direct_.Dispatch(slot, std::move(connection), events);
}

// A worker that reports and ends did so in this order; so its report is there.
void Pool::ChildEnded(const proc::Reaper::Ended& ended, Events& events) {
  if (WorkerSet::IsWorker(ended.tag)) {
    TakeReports(events);
    workers_.Ended(ended, net::Now(), events);
  } else {
    direct_.ChildEnded(ended, events);
  }
}

void Pool::TakeReports(Events& events) {
  for (int n = 0; n < kReportBatch; ++n) {
    const absl::optional<WorkerReports::Received> received =
        reports_.TryReceive();
    if (!received) {
      // The worker is busy for us until we hear of it, or it ends.
      const int error = errno;
      if (error != EAGAIN) log_->CallFailed("recvmsg", error, net::Now());
      return;
    }
    const WorkerReports::Report& report = received->report;
    const absl::optional<Slot> slot = workers_.Finished(
        report.index, received->sender, report.serial, report.leaves != 0);
    if (!slot) continue;
    events.Ended(*slot, received->sender,
                 proc::ExitStatus::Exited(report.exit_code, report.usage),
                 received->done_at);
  }
}

void Pool::Maintain(net::Instant now, bool /*quiet*/, Events& /*events*/) {
  if (closed_) {
    workers_.DismissIdle(0);
  } else if (Short()) {
    workers_.ForkUpTo(workers_.idle() + max_workers_ - reaper_->live(),
                      direct_.spawner(), now);
  }
}

net::Instant Pool::next_maintenance() const {
  return Short() ? workers_.next_fork() : net::Never();
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

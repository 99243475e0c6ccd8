// WorkerReports: how the workers of a pool tell that they are done.
//
// One socket for all of them, so that the parent polls one descriptor however
// many there are. The kernel says which process each report is from, so a
// worker can speak for itself alone; one that is not exactly as Send() makes it
// is dropped. What it says may be anything that fits: for a worker may have
// been taken over by its client.
//
// The parent makes it and receives; a worker, which keeps sender(), sends.
// Neither blocks: a worker whose report does not fit waits for the parent.
//
// Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
//   ... in a worker:  sender.Send({index, serial, code, leaves, done_at, usage});
//   ... in the parent, when reports->fd() is readable:
//   while (auto report = reports->TryReceive(now)) Account(*report);

#ifndef BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_
#define BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

// WorkerReport is what a worker sends when it has finished a connection.
struct WorkerReport {
  uint32_t index;   // of the worker, as it claims
  uint32_t serial;  // of the connection
  int32_t exit_code;
  uint32_t leaves;  // 1 if the worker exits
  int64_t done_at;  // in nanoseconds of net::Now()'s clock
  rusage usage;     // of that connection
};

// ReportSender sends the reports of one worker. Process: worker. A small value:
// it lends the descriptor that workers keep.
class ReportSender {
 public:
  explicit ReportSender(int fd) : fd_(fd) {}

  // Sends `report`; waits while the parent's queue is full.
  void Send(const WorkerReport& report) const;
  int fd() const { return fd_; }

 private:
  int fd_;
};

class WorkerReports {
 public:
  using Report = WorkerReport;
  struct Received {
    pid_t sender;  // the kernel's word
    Report report;
    // Of the report; but whatever that says, a time that has passed.
    net::Instant done_at;
  };

  static absl::StatusOr<WorkerReports> Create();

  int fd() const { return receiving_.fd(); }
  // Returns the next report; nothing if there is none (errno is EAGAIN then) or
  // if the kernel refuses. `now` bounds the time that the report claims.
  absl::optional<Received> TryReceive(net::Instant now) const;

  // Returns what a worker sends its reports with.
  ReportSender sender() const { return ReportSender(sending_.fd()); }

 private:
  WorkerReports(net::Socket sending, net::Socket receiving);

  proc::Private<net::Socket> sending_;
  proc::Private<net::Socket> receiving_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_

// WorkerReports: how the workers of a pool tell that they are done.
//
// One socket for all of them, so that the parent polls one descriptor however
// many there are. The kernel says which process each report is from, so a
// worker can speak for itself alone; one that is not exactly as Send() makes it
// is dropped. What it says may be anything that fits: for a worker may have
// been taken over by its client.
//
// The parent makes it and receives; a worker, which keeps fd_to_send(), sends.
// Neither blocks: a worker whose report does not fit waits for the parent.
//
// Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
//   ... in a worker:  reports->Send({index, serial, code, leaves, done_at, usage});
//   ... in the parent, when reports->fd() is readable:
//   while (auto report = reports->TryReceive()) Account(*report);

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

class WorkerReports {
 public:
  struct Report {
    uint32_t index;   // which worker it says it is
    uint32_t serial;  // of the connection that it is done with
    int32_t exit_code;
    uint32_t leaves;  // 1 if it serves no more
    int64_t done_at;  // in nanoseconds of net::Now()'s clock
    rusage usage;     // of that connection
  };
  struct Received {
    pid_t sender;  // the kernel's word
    Report report;
    // Of the report; but whatever that says, a time that has passed.
    net::Instant done_at;
  };

  static absl::StatusOr<WorkerReports> Create();

  int fd() const { return receiving_.fd(); }
  // Nothing if there is none, errno is EAGAIN then; or if the kernel refuses.
  absl::optional<Received> TryReceive() const;

  int fd_to_send() const { return sending_.fd(); }
  void Send(const Report& report) const;

 private:
  WorkerReports(net::Socket sending, net::Socket receiving);

  net::Socket sending_;
  net::Socket receiving_;
  proc::HiddenFd hidden_sending_;
  proc::HiddenFd hidden_receiving_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_

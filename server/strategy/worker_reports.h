// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_
#define BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

// WorkerReport is what a worker sends when it has finished a connection.
struct WorkerReport {
  static constexpr uint32_t kMark = 0x646f6e65;  // "done"

  uint32_t mark;
  uint32_t serial;  // of the connection
  int32_t exit_code;
  uint32_t leaves;  // 1 if the worker exits
  int64_t done_at;  // in nanoseconds of net::Now()'s clock
  rusage usage;     // of that connection
};

// ReportSender sends the reports of one worker by the end of its handoff queue
// that it awaits connections on.
//
// Process: worker. A value, which lends the descriptor. It remembers which
// socket that is: a handler may have closed it, and opened another file that
// has its number now.
class ReportSender {
 public:
  explicit ReportSender(int channel);

  // Sends `report`, and waits as long as the channel is full. Returns false if
  // the channel is gone: the worker must then end, with the exit code that it
  // could not report.
  bool Send(const WorkerReport& report) const;

 private:
  int fd_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// WorkerReports reads what the workers of a pool report, each by a channel of
// its own: the queue pair by which the worker gets its connections.
//
// Nothing is shared by two workers, so a worker can stop, flood, fill or close
// its own channel only. All channels are polled by one epoll descriptor. What a
// worker sends is not trusted, for its client may have taken it over: a report
// is bounded, and whatever else is there is an error, which must be the end of
// that worker and of its channel, or the channel stays readable.
//
// Process: parent. Channels stay their owner's. Nothing blocks.
// Errors: Create() and Watch() name the call that failed; see Receive().
//
// Example:
//   absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
//   absl::Status watched = reports->Watch(queue.fd_to_offer(), index);
//   ... when reports->fd() is readable:
//   for (int i = 0; i < reports->Find(&ready); ++i) TakeReport(ready[i]);
class WorkerReports {
 public:
  using Report = WorkerReport;
  // The most channels that are looked at in one turn.
  static constexpr size_t kBatch = 64;
  using Ready = std::array<uint32_t, kBatch>;

  struct Received {
    // The report, with each field within its bounds.
    Report report;
    net::Instant done_at;
  };

  static absl::StatusOr<WorkerReports> Create();

  // Returns a descriptor that is readable while a watched channel is.
  int fd() const { return epoll_.fd(); }
  // Watches `channel` of worker `index`.
  absl::Status Watch(int channel, uint32_t index) const;
  // Ends that. Must be called before `channel` is closed: a process that is
  // being forked may have a copy for a moment longer, by which the kernel would
  // go on to watch it.
  void Unwatch(int channel) const;
  // Stores the workers whose channel is readable or broken in `ready`. Returns
  // how many there are, or -1 with errno set.
  int Find(Ready* ready) const;

  // Reads one report from `channel`. Returns nothing if there is none,
  // OutOfRange if the worker has closed its end, InvalidArgument if what it
  // sent is not a report, and the errno of recv otherwise. The time and the
  // usage are bounded by those of a connection that a process has had from
  // `since` until `now`. Descriptors that came along are closed.
  static absl::StatusOr<absl::optional<Received>> Receive(int channel,
                                                          net::Instant since,
                                                          net::Instant now);

 private:
  explicit WorkerReports(net::UniqueFd epoll) : epoll_(std::move(epoll)) {}

  proc::Private<net::UniqueFd> epoll_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_

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
  // Distinguishes a report from other bytes: "done".
  static constexpr uint32_t kMark = 0x646f6e65;

  // Holds kMark.
  uint32_t mark;
  // Identifies the connection, by the number of its message.
  uint32_t serial;
  // Holds what ChildProgram::Serve() returned.
  int32_t exit_code;
  // Reports whether the worker exits: 1 if it does, 0 if it goes on.
  uint32_t leaves;
  // Holds when the connection ended, in nanoseconds of the clock of net::Now().
  int64_t done_at;
  // Holds the resources that the worker used for this connection.
  rusage usage;
};

// ReportSender sends the reports of one worker through its handoff queue, by
// the same end through which it receives connections.
//
// Process: worker. A value that borrows the descriptor. It stores the identity
// of the socket: a handler may have closed the socket, and opened another file
// that has the number now.
class ReportSender {
 public:
  // Makes a sender through `channel`, which is lent.
  explicit ReportSender(int channel);

  // Reports whether the descriptor still stands for the channel.
  bool IsIntact() const;
  // Sends `report`, and waits while the channel is full. Returns false if the
  // channel is closed: the worker must then exit with the code that it could
  // not report. Requires IsIntact().
  bool Send(const WorkerReport& report) const;

 private:
  int fd_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// WorkerReports reads the reports of the workers of a pool. Each worker has a
// channel of its own: the handoff queue by which it gets its connections.
//
// Two workers share nothing, so a worker can block, flood, fill or close only
// its own channel. One epoll descriptor polls all channels. What a worker sends
// is not trusted, because its client may have compromised it: the fields of a
// report are limited to possible values, and anything else is an error. The
// caller must then end that worker and its channel, or the channel stays
// readable.
//
// Process: parent. Channels belong to their owner. No call blocks. Errors:
// Create() and Watch() name the call that failed; see Receive().
//
// Example:
//   absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
//   absl::Status watched = reports->Watch(queue.fd_to_offer(), index);
//   ... when reports->fd() is readable:
//   const int count = reports->Find(&ready);
//   for (int i = 0; i < count; ++i) TakeReport(ready[i]);
class WorkerReports {
 public:
  // Report is the message that Receive() reads.
  using Report = WorkerReport;
  // The largest number of channels that Find() returns.
  static constexpr size_t kBatch = 64;
  // Ready is the list of workers that Find() fills.
  using Ready = std::array<uint32_t, kBatch>;

  // Received is a report that Receive() has read and checked.
  struct Received {
    // Holds what the worker sent; of `usage`, each field is limited.
    Report report;
    // Holds `report.done_at` as a time, limited to the time of the connection.
    net::Instant done_at;
  };

  // Returns an object that watches no channel.
  static absl::StatusOr<WorkerReports> Create();

  // Returns a descriptor that is readable while a watched channel is.
  int fd() const { return epoll_.fd(); }
  // Watches `channel` of worker `index`.
  absl::Status Watch(int channel, uint32_t index) const;
  // Stops watching `channel`. Must be called before `channel` is closed: a
  // process that is being forked may have a copy for a moment longer, and the
  // kernel would watch that.
  void Unwatch(int channel) const;
  // Stores the workers whose channel is readable or broken in `ready`. Returns
  // how many there are, or -1 with errno set.
  int Find(Ready* ready) const;

  // Reads one report from `channel`. Returns nothing if there is none,
  // OutOfRange if the worker has closed its end, InvalidArgument if what it
  // sent is not a report, and the errno of recv otherwise. The time and the
  // usage are limited to what is possible for a connection that a process has
  // had from `since` until `now`. Descriptors that came with the report are
  // closed.
  static absl::StatusOr<absl::optional<Received>> Receive(int channel,
                                                          net::Instant since,
                                                          net::Instant now);

 private:
  // Takes ownership of `epoll`, an epoll descriptor that watches no channel
  // yet, and makes it private.
  explicit WorkerReports(net::UniqueFd epoll) : epoll_(std::move(epoll)) {}

  proc::Private<net::UniqueFd> epoll_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_REPORTS_H_

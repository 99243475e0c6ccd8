// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_
#define BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/server/control/requests.h"

namespace brood::server {

// RequestSignals are the signals by which servers are asked to stop or to let a
// new program take over, shared by all servers of a process.
//
//   SIGTERM, SIGINT    AskToDrain()
//   SIGHUP, SIGUSR2    AskToUpgrade(), where a server can be upgraded; but
//                      AskToDrain() for a SIGHUP because the terminal is gone
//
// A signal is sent to a process once, and is meant for every server in it. So
// its handler marks it in one place for all, and the server that looks there
// first asks each one. A signal that is ignored when the first server joins
// stays ignored. Nothing is blocked: programs that the process starts, and
// processes that it forks, have these signals as they would without a server.
//
// Process: the parent. A server joins when it is created and leaves when the
// object is destroyed; after the last one the signals are what they were
// before, and one that was not yet looked at is raised again. Joining and
// leaving are thread-safe; both change the mask of the calling thread.
//
// Errors: Join() names the call that failed.
//
// Example:
//   auto signals = RequestSignals::Join(&requests, RequestSignals::kStop);
//   ... poll signals->fd(), and when it is readable ...
//   signals->Forward();
//   const Requests::Taken taken = requests.Take();
class RequestSignals {
 public:
  // The signals that a server has a use for.
  enum Use { kStop, kStopAndUpgrade };

  // Blocks the signals of both uses and no other, for the first line of main():
  // one that comes before a server joins, or after it left, waits. While a
  // server has joined they are not blocked.
  static absl::Status BlockAlone();

  // Takes the signals of `use`, which ask `requests`. That outlives this
  // object.
  static absl::StatusOr<RequestSignals> Join(const Requests* requests, Use use);

  // Returns whether this process has a controlling terminal. The kernel takes
  // it away when the terminal is closed, also from processes in the background.
  static bool HasTerminal();

  // Takes no signal.
  RequestSignals() = default;
  RequestSignals(RequestSignals&& other) noexcept
      : shared_(std::move(other.shared_)),
        requests_(other.requests_),
        use_(other.use_) {}
  RequestSignals& operator=(RequestSignals&& other) noexcept {
    std::swap(shared_, other.shared_);
    std::swap(requests_, other.requests_);
    std::swap(use_, other.use_);
    return *this;
  }
  ~RequestSignals();

  // Returns a descriptor that is readable while a signal waits, -1 if none is
  // taken. Poll it; do not read it.
  int fd() const;
  // Reports whether a signal waits. Costs nothing: for a loop that a signal
  // interrupts.
  bool IsWaiting() const;
  // Takes what waits, and asks every server for it.
  void Forward() const;

 private:
  class Shared;

  RequestSignals(std::shared_ptr<Shared> shared, const Requests* requests,
                 Use use);

  std::shared_ptr<Shared> shared_;
  const Requests* requests_ = nullptr;
  Use use_ = kStop;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_
#define BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/server/control/requests.h"

namespace brood::server {

// RequestSignals are the signals that request a stop or an upgrade, shared by
// all servers of a process.
//
//   SIGTERM, SIGINT    RequestStop()
//   SIGHUP, SIGUSR2    RequestUpgrade(), where a server can be upgraded; but
//                      RequestStop() for a SIGHUP because the terminal is gone
//
// A signal is for every server of the process; request_signals.cc describes how
// it reaches each of them. A signal that is ignored when the first server joins
// stays ignored. Programs that the process starts, and processes that it forks,
// have these signals as they would without a server.
//
// Process: the parent. After the last server has left, the signals are what
// they were before. Joining and leaving are thread-safe; both change the mask
// of the calling thread. Errors: Join() names the call that failed.
//
// Example:
//   auto signals = RequestSignals::Join(&requests, RequestSignals::kStop);
//   ... poll signals->fd(), and when it is readable ...
//   signals->Forward();
class RequestSignals {
 public:
  // Use is the set of signals that a server takes.
  enum Use { kStop, kStopAndUpgrade };

  // Blocks the signals of both uses and no other, for the first line of main():
  // a signal that comes before a server joins, or after it has left, stays
  // pending. While a server has joined, the signals are not blocked.
  static absl::Status BlockAlone();

  // Makes the signals of `use` requests to `requests`, which outlives the
  // returned object.
  static absl::StatusOr<RequestSignals> Join(const Requests* requests, Use use);

  // Returns whether this process has a controlling terminal. The kernel takes
  // it away when the terminal is closed, also from processes in the background.
  static bool HasTerminal();

  // Makes an object that takes no signal.
  RequestSignals() = default;
  // Takes over the signals of `other`, which then takes none.
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
  // Ends the use of the signals by this server. After the last server, the
  // signals are what they were before.
  ~RequestSignals();

  // Returns a descriptor that is readable while a signal waits for Forward(),
  // or -1 if no signal is taken. Poll it; do not read it.
  int fd() const;
  // Returns whether a signal waits for Forward(). Makes no system call, so a
  // loop may call it whenever a signal interrupts it.
  bool IsWaiting() const;
  // Takes the signals that wait, and passes the request of each to every
  // server.
  void Forward() const;

 private:
  class Shared;

  // Owns the membership of `requests` in `shared`, to which Join() has added it
  // for `use`.
  RequestSignals(std::shared_ptr<Shared> shared, const Requests* requests,
                 Use use);

  std::shared_ptr<Shared> shared_;
  const Requests* requests_ = nullptr;
  Use use_ = kStop;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_

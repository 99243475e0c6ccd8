// StopSignals: the signals that tell servers to stop, shared by all servers of
// a process.
//
// A signal is sent to a process and taken once, but every server in it must
// hear of SIGTERM. So there is one inbox for all of them, and whichever server
// finds a signal there rings each one's drain request.
//
// Lives in the parent. A server joins when it is created and leaves when the
// object is destroyed; the last one to leave gives the signals back. Joining
// and leaving are thread-safe; the inbox belongs to the thread that was first
// to join.
//
// Errors: Join() names the call that failed.
//
// Example:
//   auto signals = StopSignals::Join(drain_request_fd);
//   ... poll signals->fd() ...
//   while (absl::optional<int> other = signals->TryTake()) Ignore(*other);

#ifndef BROOD_SERVER_STOP_SIGNALS_H_
#define BROOD_SERVER_STOP_SIGNALS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"

namespace brood::server {

class StopSignals {
 public:
  // For each SIGTERM and SIGINT `drain_request_fd`, an eventfd, gets a count.
  static absl::StatusOr<StopSignals> Join(int drain_request_fd);

  StopSignals(StopSignals&& other) noexcept = default;
  StopSignals& operator=(StopSignals&&) = delete;
  ~StopSignals();

  // Readable while a signal waits. Poll it; do not read it.
  int fd() const;
  // Takes what waits: rings for those that stop, and gives the next one that
  // means something else.
  absl::optional<int> TryTake();

 private:
  struct Shared;

  StopSignals(std::shared_ptr<Shared> shared, int drain_request_fd);

  std::shared_ptr<Shared> shared_;
  int drain_request_fd_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STOP_SIGNALS_H_

// RequestSignals: the signals by which servers are asked to stop or to let a
// new program take over, shared by all servers of a process.
//
//   SIGTERM, SIGINT    AskToDrain()
//   SIGHUP, SIGUSR2    AskToUpgrade()
//
// A signal is sent to a process and taken once, but every server in it must
// hear of it. So there is one inbox for all of them, and whichever server finds
// a signal there asks each one.
//
// Lives in the parent. A server joins when it is created and leaves when the
// object is destroyed; the last one to leave gives the signals back. Joining
// and leaving are thread-safe; the inbox belongs to the thread that was first
// to join.
//
// Errors: Join() names the call that failed.
//
// Example:
//   auto signals = RequestSignals::Join(&requests);
//   ... poll signals->fd(), and when it is readable ...
//   signals->Forward();
//   const Requests::Taken taken = requests.Take();

#ifndef BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_
#define BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "brood/server/control/requests.h"

namespace brood::server {

class RequestSignals {
 public:
  // For main(), first of all: from here to the end of the process these signals
  // wait until a server takes them. One that comes before there is a server, or
  // when it has stopped, would otherwise end the process.
  static void BlockForGood();

  // `requests` are asked for each signal, and outlive this object.
  static absl::StatusOr<RequestSignals> Join(const Requests* requests);

  // Takes no signal.
  RequestSignals() = default;
  RequestSignals(RequestSignals&& other) noexcept
      : shared_(std::move(other.shared_)), requests_(other.requests_) {}
  RequestSignals& operator=(RequestSignals&& other) noexcept {
    std::swap(shared_, other.shared_);
    std::swap(requests_, other.requests_);
    return *this;
  }
  ~RequestSignals();

  // Returns a descriptor that is readable while a signal waits, -1 if none is
  // taken. Poll it; do not read it.
  int fd() const;
  // Takes what waits, and asks every server for it.
  void Forward() const;

 private:
  struct Shared;

  RequestSignals(std::shared_ptr<Shared> shared, const Requests* requests);

  std::shared_ptr<Shared> shared_;
  const Requests* requests_ = nullptr;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_REQUEST_SIGNALS_H_

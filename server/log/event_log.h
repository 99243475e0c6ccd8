// EventLog: the only thing in the tree that prints. One function for each
// event.
//
// Each event is one line on standard error, by one write:
//
//   brood[4711] info: forked pid 4712 to handle 127.0.0.1:50112 (1 of 1000)
//
// The log can never stop service: a line that can't be written at once is
// dropped and counted, in the children too, and the next line that gets through
// is preceded by one that says how many are missing. What could come in floods
// (a shortage, network errors) is said once a second at most.
//
// Lives in the parent; Handling() and NotPrepared() alone are called in the
// child. Allocates
// nothing after its creation.
//
// Example:
//   EventLog log(LogLevel::kInfo);
//   log.Forked(pid, peer, /*running=*/3, /*cap=*/1000);

#ifndef BROOD_SERVER_LOG_EVENT_LOG_H_
#define BROOD_SERVER_LOG_EVENT_LOG_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/private_fds.h"
#include "brood/server/log/line_writer.h"
#include "brood/server/log_level.h"
#include "brood/server/totals.h"

namespace brood::server {

class EventLog {
 public:
  explicit EventLog(LogLevel level);
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;
  ~EventLog();

  // The life of the server.
  void Listening(const net::Endpoint& endpoint);
  void NotNamed(int fd, const net::Endpoint& endpoint);
  void ExitQueueShort(uint64_t limit, size_t cap);
  // The service manager does not know it.
  void NotTold(absl::string_view words, const absl::Status& why);
  void Draining(size_t running, absl::Duration grace);
  void Terminating(size_t running);
  void Killing(size_t running);
  void Stopped(const Totals& totals);

  // The life of a connection.
  void Forked(pid_t pid, const net::PeerAddress& peer, size_t running,
              size_t cap);
  void Handling(const net::PeerAddress& peer);  // in the child
  void NotPrepared(const absl::Status& why);    // in the child
  void Ended(pid_t pid, const net::PeerAddress& peer,
             const proc::ExitStatus& status, bool signalled_by_us,
             absl::Duration after, size_t running, size_t cap);

  void Expired(pid_t pid, const net::PeerAddress& peer, KillReason deadline);

  // One program takes over from another.
  void UpgradeStarted(pid_t pid, absl::string_view path);
  void UpgradeIgnored(absl::string_view why);
  void SuccessorReady(pid_t pid);
  void HandedOver(pid_t pid);
  void UpgradeFailed(pid_t pid, const absl::Status& why, uint64_t failures);

  // What goes wrong.
  void ForkFailed(const net::PeerAddress& peer, const absl::Status& why,
                  absl::Duration pause, net::Instant now);
  void AcceptPaused(const net::Endpoint& listener, int error,
                    absl::Duration pause, net::Instant now);
  void AcceptFailed(const net::Endpoint& listener, int error, net::Instant now);
  void ListenerDead(const net::Endpoint& listener, int error);
  // A call that never should, and that is made again.
  void CallFailed(const char* call, int error, net::Instant now);

  // Processes that are made ahead of connections.
  void DiedAtStart(pid_t pid, const proc::ExitStatus& status,
                   absl::Duration pause);
  void NoneAhead(const absl::Status& why, absl::Duration pause);
  void ZygoteServes(pid_t pid);
  void ZygoteEnded(pid_t pid, const proc::ExitStatus& status);

  // Lines that could not be written, of this process and its children.
  uint64_t dropped() const;
  // Returns the descriptor that the log opened for itself, which is private; -1
  // if it has none.
  int own_fd() const { return writer_.own_fd(); }

 private:
  // Lets one line a second through, and knows how many it kept back.
  struct Throttle {
    net::Instant quiet_until = net::Instant::min();
    uint64_t kept_back = 0;
  };
  struct SharedCounts;

  bool Wants(LogLevel level) const { return level >= level_; }
  bool Wants(LogLevel level, Throttle& throttle, net::Instant now);
  // False if the line was dropped.
  bool Write(LineWriter& writer, LogLevel level, const char* format, ...)
      __attribute__((format(printf, 4, 5)));

  const LogLevel level_;
  LineWriter writer_;
  const proc::PrivateFdRegistration private_fd_;
  SharedCounts* shared_;
  Throttle fork_throttle_;
  Throttle pause_throttle_;
  Throttle accept_throttle_;
  Throttle call_throttle_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_EVENT_LOG_H_

// Deadlines: which connections have had their time.
//
// Four kinds, each off unless asked for:
//   first byte   the client has sent nothing within this time after accept
//   idle         no byte came or went for this long, and the process did not
//                compute (idle_watch.h)
//   peer         the client has taken nothing of what it is sent for this long
//   connection   it has lasted this long, whatever it does
//
// The parent enforces them, by killing the process, so a child can neither mask
// nor forget them. It reads no byte to find out, and holds no descriptor: when
// a connection could have been idle for long enough, the kernel is asked when
// bytes last moved on it (net/socket_activity.h). One that ends before that was
// never asked about, so deadlines cost short connections next to nothing. A
// child that has closed its connection has only the last kind.
//
// The kernel, too, ends a connection whose peer is gone (options.deadlines.peer
// is set on the socket), and then the child can end in its own way; so it has
// 0.4 s to be first. Its clock stands still while what it sends can't even
// leave this machine, and a child may set it back; this one's does not.
//
// Lives in the parent, in memory that children do not get. Errors: Create()
// gives those of TcpActivity::Create(), if it is needed.
//
// Example:
//   auto deadlines = Deadlines::Create(options, slots, now);
//   (*deadlines)->Watch(slot, connection);
//   ... at (*deadlines)->next():
//   (*deadlines)->Check(now, processor_time_of, [&](Slot slot, KillReason why) {
//     Kill(slot, why);
//   });

#ifndef BROOD_SERVER_DEADLINES_DEADLINES_H_
#define BROOD_SERVER_DEADLINES_DEADLINES_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/net/tcp_activity.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/server/deadlines/idle_watch.h"
#include "brood/server/deadlines/timer_wheel.h"
#include "brood/server/options.h"
#include "brood/server/status/scoreboard.h"

namespace brood::server {

class Deadlines : public proc::ParentOnly {
 public:
  // Watches nothing if the options ask for no deadline.
  static absl::StatusOr<std::unique_ptr<Deadlines>> Create(
      const Options& options, size_t slots, net::Instant now);

  // Starts the deadlines of `connection`, which was accepted into `slot`.
  void Watch(Slot slot, const net::Connection& connection);
  // Ends the deadlines of `slot`.
  void Forget(Slot slot) {
    if (active_) wheel_.Cancel(slot);
  }
  // Returns how much processor time the process of a connection has used.
  using ProcessorTimeOf = absl::FunctionRef<absl::Duration(Slot)>;
  // Calls `expired` for each connection whose deadline has passed, and again
  // every 100 ms until it is forgotten. Calls `processor_time_of` for those on
  // which no byte moves. Neither must call this object.
  void Check(net::Instant now, ProcessorTimeOf processor_time_of,
             absl::FunctionRef<void(Slot, KillReason)> expired);
  net::Instant next() const { return wheel_.next(); }

 private:
  struct Watched {
    net::PeerAddress peer;
    net::PeerAddress local;
    net::Instant accepted_at;
    bool first_byte_came = false;
    bool asks = false;  // whether its bytes matter still
    net::Instant ask_at;
    IdleWatch idle;
    // What is sent to the client waits for it at least since then, or Never();
    // and so much had been taken.
    net::Instant waits_since;
    uint64_t taken = 0;
  };

  Deadlines(const Options& options, size_t slots, net::Instant now,
            absl::optional<net::TcpActivity> activity);

  using Verdict = absl::optional<KillReason>;

  using ProcessorTime = absl::FunctionRef<absl::Duration()>;

  Verdict Judge(Watched& watched, ProcessorTime processor_time,
                net::Instant now) const;
  Verdict JudgeActivity(Watched& watched, ProcessorTime processor_time,
                        net::Instant now) const;
  static void NoteWhetherPeerTakes(Watched& watched,
                                   const net::TcpActivity::Answer& answer,
                                   net::Instant now);
  void SetAlarm(Slot slot);

  const bool active_;
  const absl::Duration first_byte_;
  const absl::Duration idle_;
  const absl::Duration peer_;
  const absl::Duration connection_;
  absl::optional<proc::Private<net::TcpActivity>> activity_;
  TimerWheel wheel_;
  proc::ParentOnlyVector<Watched> watched_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_DEADLINES_H_

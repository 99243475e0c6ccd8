// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_DEADLINES_DEADLINES_H_
#define BROOD_SERVER_DEADLINES_DEADLINES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/net/tcp_activity.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/server/deadlines/activity_sources.h"
#include "brood/server/deadlines/idle_watch.h"
#include "brood/server/deadlines/timer_wheel.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/status/scoreboard.h"

namespace brood::server {

// Deadlines decides which connections have used up their time.
//
// There are four kinds, each of which is off by default:
//   first byte   the client has sent nothing within this time after accept
//   idle         no new byte was received or sent for this long, and the
//                process did not compute (idle_watch.h)
//   peer         the client has taken none of the data sent to it for this long
//   connection   the connection has lasted this long, whatever it does
//
// The parent enforces them by killing the process, so a child can neither mask
// nor forget them. deadlines.cc describes how it finds out, without reading a
// byte.
//
// Lives in the parent, in memory that children do not get.
//
// Example:
//   auto deadlines = Deadlines::Create(options, slots, now, {&listener}, &log);
//   (*deadlines)->Watch(slot, connection);
//   (*deadlines)->Check(now, processor_time_of, kill);
class Deadlines : public proc::ParentOnly {
 public:
  // Makes an object for connections of `listeners` in `slots` slots. It watches
  // nothing if the options set no deadline. Returns FailedPrecondition,
  // beginning with the name of an option, if the kernel cannot be asked about
  // the connections of one of `listeners`. `log` outlives this object.
  static absl::StatusOr<std::unique_ptr<Deadlines>> Create(
      const Options& options, size_t slots, net::Instant now,
      const std::vector<const net::Listener*>& listeners, EventLog* log);

  // Starts the deadlines of `connection`, which was accepted into `slot`.
  void Watch(Slot slot, const net::Connection& connection);
  // Ends the deadlines of `slot`.
  void Forget(Slot slot) {
    if (active_) wheel_.Cancel(slot);
  }
  // Returns when deadlines.connection ends the connection in `slot`; Never()
  // without it.
  net::Instant EndOf(Slot slot) const {
    return connection_ == absl::ZeroDuration()
               ? net::Never()
               : net::After(watched_[slot].accepted_at, connection_);
  }
  // Returns how much processor time the process of a connection has used.
  using ProcessorTimeOf = absl::FunctionRef<absl::Duration(Slot)>;
  // Calls `expired` for each connection whose deadline has passed, and again
  // every 100 ms until Forget() is called for its slot. Calls
  // `processor_time_of` for connections on which no byte moves. Neither
  // function may call this object.
  void Check(net::Instant now, ProcessorTimeOf processor_time_of,
             absl::FunctionRef<void(Slot, KillReason)> expired);
  // Returns when to call Check(); Never() if nothing is watched.
  net::Instant next() const { return wheel_.next(); }

 private:
  // Watched is what is known about the connection in a slot.
  struct Watched {
    net::TcpSocketId id;
    // Answers how many bytes have moved; null if they do not matter, or no
    // longer do.
    const net::TcpActivity* activity = nullptr;
    net::Instant accepted_at;
    bool first_byte_came = false;
    net::Instant ask_at;
    IdleWatch idle;
    // When data that the client has not taken was first observed (Never() if
    // there is none), and how many bytes it had taken by then.
    net::Instant waits_since;
    uint64_t taken = 0;
  };

  // Makes an object for `slots` slots that watches nothing yet, at the time
  // `now`. With no slot, it never does.
  Deadlines(const Options& options, size_t slots, net::Instant now,
            ActivitySources sources, EventLog* log);

  using Verdict = absl::optional<KillReason>;

  using ProcessorTime = absl::FunctionRef<absl::Duration()>;

  // Returns the deadline of `watched` that has passed; nothing if none has.
  // Asks the kernel only if the time to ask has come.
  Verdict Judge(Watched& watched, ProcessorTime processor_time,
                net::Instant now) const;
  // Asks the kernel about `watched`, and returns the deadline that has passed;
  // if none has, sets when to ask again. Calls `processor_time` only for the
  // idle deadline.
  Verdict JudgeActivity(Watched& watched, ProcessorTime processor_time,
                        net::Instant now) const;
  // Updates since when data waits for the client of `watched`, by the `answer`
  // of the kernel at `now`.
  static void NoteWhetherPeerTakes(Watched& watched,
                                   const net::TcpActivity::Answer& answer,
                                   net::Instant now);
  // Sets the alarm of `slot` to the time at which its connection must be judged
  // next, or cancels it if there is none.
  void SetAlarm(Slot slot);

  const bool active_;
  const absl::Duration first_byte_;
  const absl::Duration idle_;
  const absl::Duration peer_;
  const absl::Duration connection_;
  const ActivitySources sources_;
  EventLog* const log_;
  TimerWheel wheel_;
  proc::ParentOnlyVector<Watched> watched_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_DEADLINES_H_

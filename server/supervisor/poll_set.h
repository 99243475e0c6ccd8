// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_POLL_SET_H_
#define BROOD_SERVER_SUPERVISOR_POLL_SET_H_

#include <poll.h>

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/server/supervisor/ready_fd.h"

namespace brood::server {

// PollSet is what the supervisor waits for, and which of it is due.
//
// It is the one place where the parent sleeps. Each source of events has an
// index, in the order of Add(), a descriptor or none, and an alarm or none. A
// descriptor cannot keep the parent busy: if it was readable more than
// kMostUnused times in kPeriod, and each time there was nothing to be done, it
// is not polled for kPeriod.
//
// Process: parent, in parent-only memory. Ownership: descriptors stay the
// caller's. Errors: Wait() returns the errno of ppoll, Fd() the status of
// ReadyFd::Create().
//
// Example:
//   const size_t exits = poll.Add();
//   poll.Set(exits, reaper.fd(), reaper.next_check());
//   const int error = poll.Wait(now, net::Never());
//   if (poll.Due(exits, now) && !reaper.CleanupChildren(now).empty()) {
//     poll.Used(exits);
//   }
class PollSet {
 public:
  // How often in kPeriod a source may be readable without anything to be done.
  static constexpr int kMostUnused = 64;
  // The time in which such wakes are counted, and for which a source is then
  // not polled.
  static constexpr absl::Duration kPeriod = absl::Milliseconds(50);

  // Adds a source that has neither a descriptor nor an alarm yet. Returns its
  // index.
  size_t Add();
  // Polls `fd` for the source `index`, or masks the source if it is negative,
  // and wakes for it at `alarm`.
  void Set(size_t index, int fd, net::Instant alarm = net::Never()) {
    polled_[index].fd = fd;
    alarms_[index] = alarm;
  }
  // Masks the source `index` because `fd`, which it had, is about to be closed.
  void Forget(size_t index, int fd);

  // Waits until a descriptor is readable, or the earliest alarm or `until`
  // passes. Returns 0, or ppoll's errno; after an error every polled source
  // counts as readable.
  int Wait(net::Instant now, net::Instant until);

  // Records that there was something to be done for the source `index`.
  void Used(size_t index) { idle_wakes_[index].count = 0; }
  // Returns a source that the last wait stopped polling for kPeriod, if any.
  absl::optional<size_t> paused() const { return paused_; }

  // Returns whether the last wait found the source readable.
  bool IsReadable(size_t index) const { return polled_[index].revents != 0; }
  // Returns whether the source had no descriptor in the last wait.
  bool IsMasked(size_t index) const { return polled_[index].fd < 0; }
  // Returns whether the source is readable, or its alarm has passed.
  bool Due(size_t index, net::Instant now) const {
    return IsReadable(index) || alarms_[index] <= now;
  }
  // Returns whether the last wait found no descriptor readable.
  bool timed_out() const { return timed_out_; }

  // Returns a descriptor that is readable when Wait() would return, for a
  // program with an event loop of its own (ready_fd.h). It reflects the sources
  // as of now and of each Publish().
  absl::StatusOr<int> Fd();
  // Updates the descriptor of Fd(), if that was called.
  void Publish();
  // Returns whether Fd() was called.
  bool has_fd() const { return ready_fd_.has_value(); }

 private:
  // IdleWakes counts the wakes of a source for which there was nothing to be
  // done.
  struct IdleWakes {
    int count = 0;
    net::Instant since = net::Instant::min();
    net::Instant paused_until = net::Instant::min();
  };

  // Returns whether the source `index` has a descriptor, and no pause at `now`.
  bool IsPolled(size_t index, net::Instant now) const {
    return polled_[index].fd >= 0 && idle_wakes_[index].paused_until <= now;
  }
  // Counts that the source `index` was readable at `now`. Begins a pause of the
  // source after more than kMostUnused wakes in kPeriod without a call of
  // Used().
  void CountWake(size_t index, net::Instant now);
  // Returns the earliest alarm of a source, or end of a pause, which may be in
  // the past; Never() if there is neither. Requires at least one source.
  net::Instant NextAlarm(net::Instant now) const;
  // Stores the sources that are polled at `now` in `unmasked_`, and waits until
  // one is readable or `alarm` has passed. Returns 0, also if a signal
  // interrupted the wait; or the errno of ppoll, after which all of them count
  // as readable.
  int Poll(net::Instant now, net::Instant alarm);

  proc::ParentOnlyVector<pollfd> polled_;
  proc::ParentOnlyVector<net::Instant> alarms_;
  // The entries of polled_ that have a descriptor: the kernel counts the others
  // against RLIMIT_NOFILE.
  proc::ParentOnlyVector<pollfd> unmasked_;
  proc::ParentOnlyVector<IdleWakes> idle_wakes_;
  absl::optional<size_t> paused_;
  net::Instant last_wait_ = net::Instant::min();
  bool timed_out_ = true;
  absl::optional<ReadyFd> ready_fd_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_POLL_SET_H_

// SPDX-License-Identifier: Apache-2.0

// How the supervisor replaces a zygote that has ended, that does nothing, or
// that must not serve any more.

#include <csignal>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/hardening/process_identity.h"
#include "brood/server/strategy/zygote/pending_children.h"
#include "brood/server/strategy/zygote/zygote.h"

namespace brood::server {

// The last process that the zygote created must be known first, because it may
// be a standby.
void Zygote::ZygoteEnded(net::Instant now) {
  zygote_pid_ = 0;
  is_killed_ = false;
  AdoptSpawned();
  if (dismissed_) return;
  must_renew_ = true;
  Succeed(now);
}

bool Zygote::Succeed(net::Instant now) {
  // Code of the embedder may have given up rights since the standby was
  // created. Checked first: if the queue cannot be renewed, SpawnMissing()
  // records the rights of now, and keeps the standby.
  must_replace_ =
      must_replace_ ||
      !identity_.DifferenceTo(proc::ProcessIdentity::Look()).empty();
  if (must_replace_) return false;
  if (must_renew_ && !RenewQueue()) return false;
  must_renew_ = false;
  // A command that the old zygote has not read must not reach the next standby.
  if (!standby_queue_->Discard() || standby_pid_ == 0 ||
      !standby_queue_->Order({kTakeOver, 0}, queue_->fd_to_await()).ok()) {
    return false;
  }
  zygote_pid_ = std::exchange(standby_pid_, 0);
  progress_at_ = now;
  environment_.reaper->Retag(zygote_pid_, ChildTag::Zygote().Pack());
  environment_.log->ZygoteServes(zygote_pid_);
  return true;
}

bool Zygote::RenewQueue() {
  absl::StatusOr<net::HandoffQueue> renewed = net::HandoffQueue::Create();
  if (!renewed.ok()) return false;
  MoveMessages(*queue_, *renewed);
  // Commands in the old queue were for the old zygote.
  standby_serial_ = 0;
  rehearsal_serial_ = 0;
  queue_ = proc::Private<net::HandoffQueue>(*std::move(renewed));
  process_->UseQueue(queue_->fd_to_await());
  return true;
}

// No process has a right to read the old queue: its zygote has ended, and a
// standby reads only after its copy was replaced. So if a message is missing,
// some process has stolen it, and its connection is given up.
void Zygote::MoveMessages(const net::HandoffQueue& from,
                          const net::HandoffQueue& to) {
  // If there are more messages than the server can have sent, they are not
  // messages of this server.
  for (size_t i = 0; i < 2 * PendingChildren::kMost; ++i) {
    auto message = from.TakeBack();
    if (!message.ok()) {
      if (!from.Acknowledge()) break;
      continue;
    }
    if (!*message) break;
    const absl::optional<net::Connection>& connection = (*message)->connection;
    if (connection && to.Offer((*message)->ticket, *connection).ok()) {
      pending_.MarkRequeued((*message)->ticket);
    }
  }
  pending_.LoseOthers();
}

net::Instant Zygote::stalled_at() const {
  if (pending_.empty() || zygote_pid_ == 0 || is_killed_) return net::Never();
  return net::After(progress_at_, kLongestStall);
}

// A zygote that does nothing is stopped, or waits for something, or another
// process has removed a message from its queue. When it has been killed, the
// standby does the rest; see ZygoteEnded().
void Zygote::KillStalled(net::Instant now) {
  progress_at_ = now;
  AdoptSpawned();
  if (pending_.first().is_known()) return;  // the zygote was not late
  const bool is_replaceable =
      standby_pid_ != 0 || closed_ || environment_.spawner->Prepare().ok();
  environment_.log->ZygoteStalled(zygote_pid_, pending_.size());
  is_killed_ = environment_.reaper
                   ->Signal(zygote_pid_, is_replaceable ? SIGKILL : SIGCONT)
                   .ok() &&
               is_replaceable;
}

void Zygote::Dismiss(net::Instant now) {
  dismissed_ = true;
  kill_dismissed_at_ = net::After(now, kLongestStall);
  for (const auto* queue : {&*queue_, &*standby_queue_}) {
    queue->Order({kExit, 0}).IgnoreError();
  }
}

// A process that is stopped does not read the command to exit.
void Zygote::KillDismissed(net::Instant now) {
  if (now < kill_dismissed_at_) return;
  kill_dismissed_at_ = net::Never();
  for (const pid_t pid : {zygote_pid_, standby_pid_}) {
    if (pid != 0) environment_.reaper->Signal(pid, SIGKILL).IgnoreError();
  }
}

absl::Status Zygote::IdentityChanged(absl::string_view what) {
  if (dismissed_) return absl::OkStatus();
  const absl::Status alone = environment_.spawner->Prepare();
  if (!alone.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "strategy=zygote: ", what,
        " of this process is not the one with which the server was created, "
        "and handlers would have the old one (",
        alone.message(), "); create the server after the change"));
  }
  environment_.log->ZygoteReplaced(what);
  must_replace_ = true;
  return Replace();
}

// The old processes cannot always be killed: they may run as root, and this
// process as another user by now. So they get no more messages, and exit
// because their queues end.
absl::Status Zygote::Replace() {
  if (!pending_.empty() && zygote_pid_ != 0) return absl::OkStatus();
  proc::Private<net::HandoffQueue> old_queue = std::move(queue_);
  absl::Status opened = Open();
  if (!opened.ok()) {
    queue_ = std::move(old_queue);
    return opened;
  }
  MoveMessages(*old_queue, *queue_);
  must_replace_ = must_renew_ = false;
  zygote_pid_ = standby_pid_ = 0;
  standby_serial_ = rehearsal_serial_ = 0;
  is_killed_ = queue_refuses_ = false;
  return SpawnMissing();
}

// No process is left to serve the connections, and the server is about to stop.
void Zygote::GiveUpQueue(net::Instant now, Events& events) {
  Announce(now, events);
  queue_->Discard();
  while (!pending_.empty()) {
    const Slot slot = pending_.first().slot;
    pending_.RemoveFirst();
    events.Failed(slot, absl::UnavailableError("the zygote has ended"), now);
  }
}

}  // namespace brood::server

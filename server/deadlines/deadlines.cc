#include "brood/server/deadlines/deadlines.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"

namespace brood::server {
namespace {

// How soon an expired connection that is still there is looked at again, and
// one of which the kernel could not tell.
constexpr absl::Duration kSoon = absl::Milliseconds(100);

// Within a peer timeout it is asked so often whether the peer takes anything;
// so much later than it the parent acts.
constexpr int kLooks = 8;
constexpr absl::Duration kKernelsTurn = absl::Milliseconds(400);

}  // namespace

absl::StatusOr<std::unique_ptr<Deadlines>> Deadlines::Create(
    const Options& options, size_t slots, net::Instant now) {
  const absl::Duration none = absl::ZeroDuration();
  const bool asks = options.deadlines.first_byte != none ||
                    options.deadlines.idle != none ||
                    options.deadlines.peer != none;
  if (!asks && options.deadlines.connection == none) slots = 0;
  absl::optional<net::TcpActivity> activity;
  if (asks) {
    absl::StatusOr<net::TcpActivity> created = net::TcpActivity::Create();
    if (!created.ok()) return created.status();
    activity.emplace(*std::move(created));
  }
  return std::unique_ptr<Deadlines>(
      new Deadlines(options, slots, now, std::move(activity)));
}

Deadlines::Deadlines(const Options& options, size_t slots, net::Instant now,
                     absl::optional<net::TcpActivity> activity)
    : active_(slots > 0),
      first_byte_(options.deadlines.first_byte),
      idle_(options.deadlines.idle),
      peer_(options.deadlines.peer),
      connection_(options.deadlines.connection),
      wheel_(slots, now),
      watched_(slots) {
  if (activity) activity_.emplace(*std::move(activity));
}

void Deadlines::Watch(Slot slot, const net::Connection& connection) {
  if (!active_) return;
  const absl::Duration none = absl::ZeroDuration();
  Watched& watched = watched_[slot];
  watched.peer = connection.peer();
  watched.local = connection.local_address();
  watched.accepted_at = connection.accepted_at();
  watched.first_byte_came = first_byte_ == none;
  // Of unix sockets the kernel can't tell, and their peers are never far.
  watched.asks = activity_.has_value() && !watched.peer.is_unix();
  watched.waits_since = net::Never();
  watched.ask_at = net::Never();
  watched.idle = IdleWatch();
  for (const absl::Duration wait :
       {first_byte_, IdleWatch::FirstLook(idle_), peer_ / kLooks}) {
    if (wait == none) continue;
    watched.ask_at =
        std::min(watched.ask_at, net::After(watched.accepted_at, wait));
  }
  SetAlarm(slot);
}

void Deadlines::SetAlarm(Slot slot) {
  const Watched& watched = watched_[slot];
  net::Instant at = watched.asks ? watched.ask_at : net::Never();
  if (connection_ != absl::ZeroDuration()) {
    at = std::min(at, net::After(watched.accepted_at, connection_));
  }
  wheel_.Set(slot, at);
}

void Deadlines::Check(net::Instant now, ProcessorTimeOf processor_time_of,
                      absl::FunctionRef<void(Slot, KillReason)> expired) {
  wheel_.Advance(now, [&](Slot slot) {
    const Verdict verdict = Judge(
        watched_[slot], [&] { return processor_time_of(slot); }, now);
    if (verdict) {
      wheel_.Set(slot, net::After(now, kSoon));
      expired(slot, *verdict);
    } else {
      SetAlarm(slot);
    }
  });
}

Deadlines::Verdict Deadlines::Judge(Watched& watched,
                                    ProcessorTime processor_time,
                                    net::Instant now) const {
  if (connection_ != absl::ZeroDuration() &&
      now >= net::After(watched.accepted_at, connection_)) {
    return KillReason::kConnection;
  }
  if (!watched.asks || now < watched.ask_at) return absl::nullopt;
  return JudgeActivity(watched, processor_time, now);
}

// Asks the kernel, and says when to ask again.
Deadlines::Verdict Deadlines::JudgeActivity(Watched& watched,
                                            ProcessorTime processor_time,
                                            net::Instant now) const {
  const absl::StatusOr<net::TcpActivity::Answer> answer =
      (*activity_)->Ask(watched.local, watched.peer);
  if (absl::IsNotFound(answer.status())) {
    watched.asks = false;  // the child closed it, and does something else
    return absl::nullopt;
  }
  if (!answer.ok()) {
    watched.ask_at = net::After(now, kSoon);
    return absl::nullopt;
  }
  watched.first_byte_came |= answer->bytes_received > 0;
  net::Instant ask_at = net::Never();
  if (!watched.first_byte_came) {
    ask_at = net::After(watched.accepted_at, first_byte_);
    if (now >= ask_at) return KillReason::kFirstByte;
  }
  if (idle_ != absl::ZeroDuration()) {
    const net::Instant idle_at =
        watched.idle.IdleAt(idle_, answer->idle, processor_time, now);
    if (now >= idle_at) return KillReason::kIdle;
    ask_at = std::min(ask_at, idle_at);
  }
  if (peer_ != absl::ZeroDuration()) {
    NoteWhetherPeerTakes(watched, *answer, now);
    const net::Instant lost_at =
        net::After(watched.waits_since, peer_ + kKernelsTurn);
    if (now >= lost_at) return KillReason::kPeer;
    ask_at = std::min({ask_at, lost_at, net::After(now, peer_ / kLooks)});
  }
  watched.ask_at = ask_at;
  return absl::nullopt;
}

// What began to wait since the last question is taken to begin now.
void Deadlines::NoteWhetherPeerTakes(Watched& watched,
                                     const net::TcpActivity::Answer& answer,
                                     net::Instant now) {
  if (!answer.more_waits) {
    watched.waits_since = net::Never();
  } else if (watched.waits_since == net::Never() ||
             watched.taken != answer.bytes_acknowledged) {
    watched.waits_since = now;
    watched.taken = answer.bytes_acknowledged;
  }
}

}  // namespace brood::server

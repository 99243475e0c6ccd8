// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/deadlines.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"

// How the parent finds out: it reads no byte and holds no descriptor of a
// connection. When a connection could have been idle for long enough, the
// parent asks the kernel how many bytes have moved on it (net/tcp_activity.h).
// A connection that ends earlier is never asked about, so deadlines cost short
// connections next to nothing. A child that has closed its connection has only
// the deadline of the connection.
//
// Each answer of the kernel has one meaning; see TcpActivity::Meaning and
// docs/decisions/deadlines.md. Where the kernel cannot be asked about the
// connections of a listener, "first byte" and "idle" are refused, with the name
// of the option; "peer" is left to the kernel (options.deadlines.peer is set on
// the socket), with a warning; "connection" needs no answer. For "peer" the
// kernel has 0.4 s to act first, so that the child can end in its own way.

namespace brood::server {
namespace {

// The time after which a connection is checked again that has expired and not
// ended, or about which the kernel could not answer.
constexpr absl::Duration kSoon = absl::Milliseconds(100);

// How often within deadlines.peer the parent asks whether the peer takes any
// data.
constexpr int kLooks = 8;
// How long after deadlines.peer the parent kills the child, if the kernel has
// not ended the connection.
constexpr absl::Duration kKernelsTurn = absl::Milliseconds(400);

// Returns the error for the deadline `field`, which cannot be enforced on
// `endpoint`.
absl::Status Refuse(const char* field, absl::Duration length,
                    const net::Endpoint& endpoint, const absl::Status& why) {
  return absl::FailedPreconditionError(
      absl::StrCat(field, "=", absl::FormatDuration(length),
                   ": must be 0 with ", endpoint.ToString(),
                   ", because the kernel cannot be asked about its "
                   "connections: ",
                   why.message(), "; or use deadlines.connection"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Deadlines>> Deadlines::Create(
    const Options& options, size_t slots, net::Instant now,
    const std::vector<const net::Listener*>& listeners, EventLog* log) {
  const absl::Duration none = absl::ZeroDuration();
  const Options::Deadlines& lengths = options.deadlines;
  const bool asks = lengths.first_byte != none || lengths.idle != none ||
                    lengths.peer != none;
  if (!asks && lengths.connection == none) slots = 0;
  // deadlines.peer does not end the connection of a client that is there and
  // sends nothing.
  if (lengths.first_byte == none && lengths.idle == none &&
      lengths.connection == none) {
    for (const net::Listener* listener : listeners) {
      if (!listener->endpoint().is_local()) {
        log->NoDeadline(listener->endpoint());
      }
    }
  }
  ActivitySources sources;
  for (const net::Listener* listener : listeners) {
    // The kernel reports nothing about unix sockets; options.unix_deadlines
    // decides what that means.
    if (!asks || listener->endpoint().is_unix()) continue;
    const absl::Status visible = sources.Add(*listener);
    if (visible.ok()) continue;
    if (lengths.first_byte != none) {
      return Refuse("deadlines.first_byte", lengths.first_byte,
                    listener->endpoint(), visible);
    }
    if (lengths.idle != none) {
      return Refuse("deadlines.idle", lengths.idle, listener->endpoint(),
                    visible);
    }
    log->PeerTimeoutLeftToKernel(listener->endpoint(), visible);
  }
  return std::unique_ptr<Deadlines>(
      new Deadlines(options, slots, now, std::move(sources), log));
}

Deadlines::Deadlines(const Options& options, size_t slots, net::Instant now,
                     ActivitySources sources, EventLog* log)
    : active_(slots > 0),
      first_byte_(options.deadlines.first_byte),
      idle_(options.deadlines.idle),
      peer_(options.deadlines.peer),
      connection_(options.deadlines.connection),
      sources_(std::move(sources)),
      log_(log),
      wheel_(slots, now),
      watched_(slots) {}

void Deadlines::Watch(Slot slot, const net::Connection& connection) {
  if (!active_) return;
  const absl::Duration none = absl::ZeroDuration();
  Watched& watched = watched_[slot];
  watched.accepted_at = connection.accepted_at();
  watched.first_byte_came = first_byte_ == none;
  // The peers of unix sockets are on this machine.
  watched.activity =
      connection.peer().is_unix() ? nullptr : sources_.Find(connection.fd());
  if (watched.activity != nullptr) {
    watched.id = net::TcpSocketId::Of(
        connection.fd(), connection.local_address(), connection.peer());
  }
  watched.waits_since = net::Never();
  watched.ask_at = net::Never();
  watched.idle = IdleWatch(watched.accepted_at);
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
  net::Instant at = watched.activity != nullptr ? watched.ask_at : net::Never();
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
  if (watched.activity == nullptr || now < watched.ask_at) {
    return absl::nullopt;
  }
  return JudgeActivity(watched, processor_time, now);
}

Deadlines::Verdict Deadlines::JudgeActivity(Watched& watched,
                                            ProcessorTime processor_time,
                                            net::Instant now) const {
  using Meaning = net::TcpActivity::Meaning;
  const net::TcpActivity::Answer answer = watched.activity->Ask(watched.id);
  switch (answer.means) {
    case Meaning::kAlive:
      break;
    case Meaning::kClosed:
    case Meaning::kAnotherSocket:
      // The child has closed the connection, and goes on with something else.
      watched.activity = nullptr;
      return absl::nullopt;
    case Meaning::kNotVisible:
      log_->ConnectionsNotVisible(answer.error, now);
      watched.ask_at = net::After(now, kSoon);
      return absl::nullopt;
  }
  watched.id.interface = answer.interface;
  watched.first_byte_came |= answer.bytes_received > 0;
  net::Instant ask_at = net::Never();
  if (!watched.first_byte_came) {
    ask_at = net::After(watched.accepted_at, first_byte_);
    if (now >= ask_at) return KillReason::kFirstByte;
  }
  if (idle_ != absl::ZeroDuration()) {
    const IdleWatch::Traffic traffic = {
        answer.bytes_received + answer.bytes_sent + answer.bytes_acknowledged,
        answer.since_segment};
    const net::Instant idle_at =
        watched.idle.IdleAt(idle_, traffic, processor_time, now);
    if (now >= idle_at) return KillReason::kIdle;
    ask_at = std::min(ask_at, idle_at);
  }
  if (peer_ != absl::ZeroDuration()) {
    NoteWhetherPeerTakes(watched, answer, now);
    const net::Instant lost_at =
        net::After(watched.waits_since, peer_ + kKernelsTurn);
    if (now >= lost_at) return KillReason::kPeer;
    ask_at = std::min({ask_at, lost_at, net::After(now, peer_ / kLooks)});
  }
  watched.ask_at = ask_at;
  return absl::nullopt;
}

// Data that has begun to wait since the last question counts as waiting from
// now on.
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

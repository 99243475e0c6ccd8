// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/fork_per_connection.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace brood::server {
namespace {

// Returns `why` no child was forked; if the reason is that the process has
// threads (FailedPrecondition), with the strategy that works.
absl::Status NameStrategyForThreads(const absl::Status& why) {
  if (!absl::IsFailedPrecondition(why)) return why;
  return absl::FailedPreconditionError(absl::StrCat(
      why.message(),
      "; the strategy zygote (StrategyKind::kZygote) serves beside threads, if "
      "the server is created before them"));
}

}  // namespace

absl::Status ForkPerConnection::Prepare() {
  launcher_.Prepare();
  return NameStrategyForThreads(spawner_->Prepare());
}

absl::StatusOr<Rehearsal> ForkPerConnection::RehearseToServe() {
  absl::StatusOr<proc::SpawnedChild> child = spawner_->Spawn([] { return 0; });
  if (!child.ok()) return child.status();
  const pid_t pid = child->pid();
  reaper_->Adopt(*std::move(child), ChildTag::Rehearsal().Pack());
  return Rehearsal{pid, spawner_->fallback()};
}

void ForkPerConnection::Dispatch(Slot slot, net::Connection connection,
                                 net::Instant now, Events& events) {
  absl::StatusOr<proc::SpawnedChild> child = ForkAndHandle(slot, connection);
  if (!child.ok()) {
    events.Refused(slot, std::move(connection),
                   NameStrategyForThreads(child.status()), now);
    return;
  }
  connection.Close();
  const pid_t pid = child->pid();
  const net::Instant started_at = child->started_at();
  reaper_->Adopt(*std::move(child), ChildTag::Connection(slot).Pack());
  events.Serving(slot, pid, started_at);
}

void ForkPerConnection::ChildEnded(ChildTag tag,
                                   const proc::Reaper::Ended& ended,
                                   net::Instant now, Events& events) {
  launcher_.ChildEnded(tag.index, ended.pid, events);
  events.Ended(tag.index, ended.pid, ended.status, now);
}

// The pattern. The caller closes the parent's copy of the connection right
// after this, before anything else is forked. So only the child holds the
// connection, and the client sees its end when the child ends, whatever
// siblings there are.
absl::StatusOr<proc::SpawnedChild> ForkPerConnection::ForkAndHandle(
    Slot slot, net::Connection& connection) {
  if (auto launched = launcher_.Launch(connection)) return *std::move(launched);
  return spawner_->Spawn(
      [&] { return program_->BeginAndServe(connection, slot); });
}

}  // namespace brood::server

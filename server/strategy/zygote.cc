#include "brood/server/strategy/zygote.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <ctime>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/proc/child.h"
#include "brood/proc/stack_page.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

// What a message without a connection asks of the zygote or of its standby.
enum Order : uint32_t { kServe, kMakeStandby, kLeave };

// How soon after one repair there may be another.
constexpr absl::Duration kRepairPeriod = absl::Milliseconds(20);

// In the zygote, which has nothing else to do: lets a shortage pass.
void WaitForRelief() {
  const timespec a_while = {0, 10'000'000};
  nanosleep(&a_while, nullptr);
}

// Why the last process could not be made: an errno.
int WhyNot() { return errno != 0 ? errno : EAGAIN; }

}  // namespace

Zygote::Zygote(size_t slots, proc::Spawner spawner, proc::Reaper* reaper,
               const ChildProgram* program, EventLog* log)
    : slots_(slots),
      spawner_(std::move(spawner)),
      reaper_(reaper),
      program_(program),
      log_(log) {}

Zygote::~Zygote() { reaper_->SetLateAdoption(nullptr); }

absl::Status Zygote::Start() {
  absl::Status opened = Open();
  if (!opened.ok()) return opened;
  dismissed_ = false;
  reaper_->SetLateAdoption([this] { AdoptSpawned(); });
  return Spawn();
}

absl::Status Zygote::Open() {
  absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
  if (!queue.ok()) return queue.status();
  absl::StatusOr<net::HandoffQueue> standby_queue = net::HandoffQueue::Create();
  if (!standby_queue.ok()) return standby_queue.status();
  // One cell more, for the standby.
  absl::StatusOr<SpawnTable> table = SpawnTable::Create(slots_ + 1);
  if (!table.ok()) return table.status();
  doorbell_ = net::Socket::AboveStandardDescriptors(
      net::Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
  if (!doorbell_.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  hidden_ = {proc::HiddenFd(queue->fd_to_offer()),
             proc::HiddenFd(queue->fd_to_await()),
             proc::HiddenFd(standby_queue->fd_to_offer()),
             proc::HiddenFd(standby_queue->fd_to_await()),
             proc::HiddenFd(doorbell_.fd())};
  queue_.emplace(*std::move(queue));
  standby_queue_.emplace(*std::move(standby_queue));
  spawn_table_.emplace(*std::move(table));
  return absl::OkStatus();
}

std::array<int, 3> Zygote::KeptFds() const {
  std::array<int, 3> kept = {queue_->fd_to_await(),
                             standby_queue_->fd_to_await(), doorbell_.fd()};
  std::sort(kept.begin(), kept.end());
  return kept;
}

// Makes those of the two that are missing.
absl::Status Zygote::Spawn() {
  absl::Status prepared = spawner_.Prepare();
  if (!prepared.ok()) return prepared;
  absl::Status spawned = spawn_table_->ShareWithChildren();
  if (!spawned.ok()) return spawned;
  if (zygote_pid_ == 0) {
    absl::StatusOr<proc::Child> zygote =
        spawner_.Spawn([this] { return RunZygote(); }, KeptFds());
    spawned = zygote.status();
    if (zygote.ok()) {
      zygote_pid_ = zygote->pid();
      reaper_->Adopt(*std::move(zygote), kZygoteTag);
      log_->ZygoteServes(zygote_pid_);
    }
  }
  // One that was ordered and not made yet will be: the order is in the queue.
  if (spawned.ok() && standby_pid_ == 0 && standby_serial_ == 0) {
    absl::StatusOr<proc::Child> standby =
        spawner_.Spawn([this] { return RunStandby(); }, KeptFds());
    spawned = standby.status();
    if (standby.ok()) {
      standby_pid_ = standby->pid();
      reaper_->Adopt(*std::move(standby), kStandbyTag);
    }
  }
  spawn_table_->HideFromChildren();
  return spawned;
}

bool Zygote::HasRoom() const {
  return zygote_pid_ != 0 && pending_count_ < kMostQueued;
}

void Zygote::Dispatch(Slot slot, net::Connection connection, Events& events) {
  if (++last_serial_ == 0) ++last_serial_;
  const absl::Status offered = queue_->Offer({slot, last_serial_}, connection);
  if (!offered.ok()) {
    events.Failed(slot, offered);
    return;
  }
  proc::SyncPoint("zygote: offered");
  pending(pending_count_++) = {slot, last_serial_, {0, 0, 0}};
}

// Puts on the reaper's books who has been born, without telling anybody yet.
void Zygote::AdoptSpawned() {
  proc::SyncPoint("zygote: about to read births");
  for (; known_ < pending_count_; ++known_) {
    Pending& next = pending(known_);
    next.birth = spawn_table_->Read(next.slot, next.serial);
    if (next.birth.pid != 0) {
      reaper_->Adopt(proc::Child::Adopt(next.birth.pid), next.slot);
    } else if (next.birth.error == 0) {
      break;  // the zygote goes by the order, too
    }
  }
  if (standby_serial_ == 0) return;
  const SpawnTable::Record standby =
      spawn_table_->Read(static_cast<uint32_t>(slots_), standby_serial_);
  if (standby.pid == 0 && standby.error == 0) return;
  standby_serial_ = 0;
  if (standby.pid == 0) return;
  standby_pid_ = standby.pid;
  reaper_->Adopt(proc::Child::Adopt(standby_pid_), kStandbyTag);
}

void Zygote::Announce(Events& events) {
  while (known_ > 0) {
    const Pending first = pending(0);
    first_pending_ = (first_pending_ + 1) % kMostQueued;
    --pending_count_;
    --known_;
    if (first.birth.pid != 0) {
      const net::Instant born{std::chrono::nanoseconds(first.birth.at)};
      events.Serving(first.slot, first.birth.pid,
                     first.birth.at != 0 ? born : net::Now());
    } else {
      events.Failed(first.slot, absl::ErrnoToStatus(first.birth.error,
                                                    "clone, in the zygote"));
    }
  }
}

void Zygote::ChildEnded(const proc::Reaper::Ended& ended, Events& events) {
  switch (ended.tag) {
    case kZygoteTag:
      if (!dismissed_) log_->ZygoteEnded(ended.pid, ended.status);
      ZygoteEnded();
      break;
    case kStandbyTag:
      standby_pid_ = 0;
      break;
    default:
      // The end of a child whose birth was not announced yet, perhaps.
      Announce(events);
      events.Ended(ended.tag, ended.pid, ended.status, net::Now());
  }
}

// The standby takes over where the zygote was interrupted. The last birth of
// that one must be known first: it may have been an standby.
void Zygote::ZygoteEnded() {
  zygote_pid_ = 0;
  AdoptSpawned();
  if (dismissed_) return;
  // An order that this one did not live to read is not for the next standby.
  if (!standby_queue_->Discard() || standby_pid_ == 0) return;
  if (!standby_queue_->Order({kServe, 0}).ok()) return;
  zygote_pid_ = std::exchange(standby_pid_, 0);
  reaper_->Retag(zygote_pid_, kZygoteTag);
  log_->ZygoteServes(zygote_pid_);
}

bool Zygote::Complete() const {
  return zygote_pid_ != 0 && (standby_pid_ != 0 || standby_serial_ != 0);
}

// The zygote makes its standby, if there is one to make it.
absl::Status Zygote::MakeComplete() {
  if (zygote_pid_ == 0) return Spawn();
  if (++last_serial_ == 0) ++last_serial_;
  standby_serial_ = last_serial_;
  absl::Status ordered = queue_->Order({kMakeStandby, standby_serial_});
  if (!ordered.ok()) standby_serial_ = 0;
  return ordered;
}

void Zygote::Attend(Events& events) {
  eventfd_t rings;
  eventfd_read(doorbell_.fd(), &rings);
  AdoptSpawned();
  Announce(events);
}

void Zygote::Maintain(net::Instant now, bool /*quiet*/, Events& events) {
  // Or was never there: Start() failed, and the server ends.
  if (dismissed_) return;
  // Those that wait are served first. Then nobody is made any more.
  if (closed_ && pending_count_ == 0) {
    dismissed_ = true;
    for (const auto* told : {&*queue_, &*standby_queue_}) {
      told->Order({kLeave, 0}).IgnoreError();
    }
  }
  if (!dismissed_ && !Complete() && now >= next_repair_) {
    next_repair_ = net::After(now, kRepairPeriod);
    const absl::Status repaired = MakeComplete();
    if (!repaired.ok()) log_->NoneAhead(repaired, kRepairPeriod);
    if (closed_ && zygote_pid_ == 0) GiveUpQueue(events);
  }
}

net::Instant Zygote::next_maintenance() const {
  if (dismissed_) return net::Never();
  if (closed_ && pending_count_ == 0) return net::Instant::min();
  return Complete() ? net::Never() : next_repair_;
}

// Nobody is left to serve them, and the server is to stop. (Those that were
// born are no more among them.)
void Zygote::GiveUpQueue(Events& events) {
  Announce(events);
  queue_->Discard();
  for (; pending_count_ > 0; --pending_count_) {
    const Slot slot = pending(0).slot;
    first_pending_ = (first_pending_ + 1) % kMostQueued;
    events.Failed(slot, absl::UnavailableError("the zygote is gone"));
  }
}

absl::Status Zygote::BeginGeneration() {
  return absl::UnimplementedError(
      "strategy=zygote: handlers see the program as it was when the server was "
      "created; create a new one");
}

// From here on in the zygote, whose children shall have none of its
// descriptors.
int Zygote::RunZygote() {
  spawn_table_->HideFromChildren();
  if (!spawner_.Prepare().ok()) return static_cast<int>(ExitCode::kBug);
  std::array<proc::HiddenFd, 3> hidden;
  const std::array<int, 3> kept = KeptFds();
  for (size_t i = 0; i < kept.size(); ++i) hidden[i] = proc::HiddenFd(kept[i]);
  proc::OnOwnStackPage([this] {
    while (DoNextOrder()) {
    }
  });
  return static_cast<int>(ExitCode::kServed);
}

// Waits for a connection, or another order, and sees to it. False if it is to
// leave.
bool Zygote::DoNextOrder() {
  const absl::StatusOr<net::HandoffQueue::Message> message = queue_->Await();
  if (absl::IsOutOfRange(message.status())) return false;  // no supervisor
  if (absl::IsInvalidArgument(message.status())) {
    queue_->Acknowledge();
    return true;
  }
  if (!message.ok()) {
    WaitForRelief();
    return true;
  }
  if (message->connection) {
    MakeChild(*message);
  } else if (message->ticket.slot == kMakeStandby) {
    MakeStandby(message->ticket.serial);
  } else {
    return false;
  }
  // If we are killed before this line, our standby finds the message again, and
  // in the table what we had done about it.
  proc::SyncPoint("zygote: about to acknowledge");
  queue_->Acknowledge();
  eventfd_write(doorbell_.fd(), 1);
  return true;
}

void Zygote::MakeChild(const net::HandoffQueue::Message& message) {
  const uint32_t slot = message.ticket.slot;
  pid_t* born = spawn_table_->Begin(slot, message.ticket.serial);
  if (born == nullptr) return;
  const absl::StatusOr<pid_t> child = spawner_.SpawnSibling(
      [&] {
        return program_->BeginAndServe(
            const_cast<net::Connection&>(*message.connection));
      },
      born);
  if (child.ok()) {
    spawn_table_->Complete(slot, net::Now().time_since_epoch().count());
  } else {
    spawn_table_->Fail(slot, WhyNot());
  }
}

void Zygote::MakeStandby(uint32_t serial) {
  const auto cell = static_cast<uint32_t>(slots_);
  pid_t* born = spawn_table_->Begin(cell, serial);
  if (born == nullptr) return;
  if (!spawn_table_->ShareWithChildren().ok()) {
    spawn_table_->Fail(cell, WhyNot());
    return;
  }
  const absl::StatusOr<pid_t> standby =
      spawner_.SpawnSibling([&] { return RunStandby(); }, born, KeptFds());
  if (!standby.ok()) spawn_table_->Fail(cell, WhyNot());
  spawn_table_->HideFromChildren();
}

int Zygote::RunStandby() {
  const absl::StatusOr<net::HandoffQueue::Message> order =
      standby_queue_->Await();
  if (!order.ok() || order->ticket.slot != kServe) {
    return static_cast<int>(ExitCode::kServed);
  }
  standby_queue_->Acknowledge();
  return RunZygote();
}

}  // namespace brood::server

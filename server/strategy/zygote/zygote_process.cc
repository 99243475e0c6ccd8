// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/zygote_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/stack_page.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/sync_point.h"
#include "brood/server/handler.h"

namespace brood::server {
namespace {

// How often the zygote tries to create a process before it gives the connection
// up. The connections behind it need a process too.
constexpr int kMostTries = 50;

// Waits for a shortage to pass. The zygote has nothing else to do meanwhile.
void WaitForRelief() {
  const timespec a_while = {0, 10'000'000};
  nanosleep(&a_while, nullptr);
}

// Returns the errno of the last failed call, which is never 0.
int LastError() { return errno != 0 ? errno : EAGAIN; }

std::array<int, 3> Sorted(std::array<int, 3> fds) {
  std::sort(fds.begin(), fds.end());
  return fds;
}

}  // namespace

ZygoteProcess::ZygoteProcess(int queue_fd, int standby_fd,
                             net::EventFd doorbell, SpawnTable table,
                             proc::Spawner* spawner,
                             const ChildProgram* program)
    : queue_fd_(queue_fd),
      standby_fd_(standby_fd),
      doorbell_(std::move(doorbell)),
      kept_fds_(Sorted({queue_fd_, standby_fd_, doorbell_.fd()})),
      table_(std::move(table)),
      spawner_(spawner),
      program_(program) {}

void ZygoteProcess::UseQueue(int fd) {
  queue_fd_ = fd;
  kept_fds_ = Sorted({queue_fd_, standby_fd_, doorbell_.fd()});
}

// The children of the zygote must have none of its descriptors.
int ZygoteProcess::RunZygote() {
  program_->HardenZygote();
  table_.HideFromChildren();
  if (!spawner_->Prepare().ok()) return static_cast<int>(ExitCode::kBug);
  std::array<proc::PrivateFdRegistration, 3> registrations;
  for (size_t i = 0; i < registrations.size(); ++i) {
    registrations[i] = proc::PrivateFdRegistration(kept_fds_[i]);
  }
  const net::HandoffQueue queue = net::HandoffQueue::AdoptAwaiting(queue_fd_);
  proc::OnOwnStackPage([&] {
    // Wipes the stack, of which each child gets a copy: data of the client
    // before may be on it.
    do {
      proc::WipeStackPage();
    } while (HandleNextMessage(queue));
  });
  return static_cast<int>(ExitCode::kServed);
}

// The queue of the zygote before this one, of which another process may have a
// copy, is replaced by the queue that comes with the command.
int ZygoteProcess::RunStandby() {
  program_->HardenZygote();
  const net::HandoffQueue commands =
      net::HandoffQueue::AdoptAwaiting(standby_fd_);
  absl::StatusOr<net::HandoffQueue::Message> command = commands.Await();
  if (!command.ok() || command->ticket.slot != kTakeOver) {
    return static_cast<int>(ExitCode::kServed);
  }
  if (command->connection) {
    const int renewed =
        fcntl(command->connection->fd(), F_DUPFD_CLOEXEC, queue_fd_);
    if (renewed < 0) return static_cast<int>(ExitCode::kSystemRefused);
    close(queue_fd_);
    UseQueue(renewed);
  }
  command->connection.reset();  // children must not get it
  commands.Acknowledge();
  return RunZygote();
}

bool ZygoteProcess::HandleNextMessage(const net::HandoffQueue& queue) {
  const absl::StatusOr<net::HandoffQueue::Message> message = queue.Await();
  // The supervisor has ended.
  if (absl::IsOutOfRange(message.status())) return false;
  if (absl::IsInvalidArgument(message.status())) {
    queue.Acknowledge();
    return true;
  }
  if (!message.ok()) {
    WaitForRelief();
    return true;
  }
  if (message->connection) {
    CreateChild(*message);
  } else if (message->ticket.slot == kCreateStandby) {
    CreateStandby(message->ticket.serial);
  } else if (message->ticket.slot == kRehearse) {
    Rehearse(message->ticket.serial);
  } else {
    return false;
  }
  // If this process is killed before this line, the standby finds the message
  // again, and finds in the table what was done for it.
  proc::SyncPoint("zygote: about to acknowledge");
  queue.Acknowledge();
  doorbell_->Notify();
  return true;
}

void ZygoteProcess::CreateChild(const net::HandoffQueue::Message& message) {
  const uint32_t slot = message.ticket.slot;
  if (slot >= rehearsal_cell()) return;  // not a slot of a connection
  pid_t* spawned = table_.Begin(slot, message.ticket.serial);
  if (spawned == nullptr) return;
  const auto try_once = [&] {
    return spawner_->SpawnSibling(
        [&] {
          return program_->BeginAndServe(
              const_cast<net::Connection&>(*message.connection), slot);
        },
        spawned);
  };
  absl::StatusOr<pid_t> child = try_once();
  for (int tries = 1; !child.ok() && tries < kMostTries; ++tries) {
    WaitForRelief();
    child = try_once();
  }
  if (child.ok()) {
    table_.Complete(slot, net::Now().time_since_epoch().count());
  } else {
    table_.Fail(slot, LastError());
  }
}

void ZygoteProcess::CreateStandby(uint32_t serial) {
  pid_t* spawned = table_.Begin(standby_cell(), serial);
  if (spawned == nullptr) return;
  if (!table_.ShareWithChildren().ok()) {
    table_.Fail(standby_cell(), LastError());
    return;
  }
  const absl::StatusOr<pid_t> standby =
      spawner_->SpawnSibling([&] { return RunStandby(); }, spawned, kept_fds_);
  if (!standby.ok()) table_.Fail(standby_cell(), LastError());
  table_.HideFromChildren();
}

void ZygoteProcess::Rehearse(uint32_t serial) {
  pid_t* spawned = table_.Begin(rehearsal_cell(), serial);
  if (spawned == nullptr) return;
  const absl::StatusOr<pid_t> child =
      spawner_->SpawnSibling([] { return 0; }, spawned);
  if (!child.ok()) table_.Fail(rehearsal_cell(), LastError());
}

}  // namespace brood::server

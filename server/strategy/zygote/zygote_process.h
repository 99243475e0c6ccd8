// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_PROCESS_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_PROCESS_H_

#include <sys/types.h>

#include <array>
#include <cstdint>

#include "brood/net/event_fd.h"
#include "brood/net/handoff_queue.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/strategy/zygote/spawn_table.h"

namespace brood::server {

// ZygoteCommand is a message without a connection, for the zygote or its
// standby.
enum ZygoteCommand : uint32_t { kTakeOver, kCreateStandby, kExit, kRehearse };

// ZygoteProcess is what runs in the zygote and in its standby: it takes
// connections from a queue and forks a child for each.
//
// Process: created in the supervisor, in ordinary memory; runs in the zygote,
// whose children are those of the supervisor (CLONE_PARENT). The kernel writes
// what the zygote has done into the spawn table, so that a zygote that takes
// over repeats nothing. Errors: none; if a process cannot be created, the table
// has the errno.
//
// Example:
//   spawner->Spawn([process] { return process->RunZygote(); },
//                  process->kept_fds());
class ZygoteProcess {
 public:
  // Makes a zygote that receives messages from `queue_fd`, and as a standby
  // commands from `standby_fd`. The last two cells of `table` are those of the
  // rehearsal and of the standby. `spawner` and `program` outlive this object.
  ZygoteProcess(int queue_fd, int standby_fd, net::EventFd doorbell,
                SpawnTable table, proc::Spawner* spawner,
                const ChildProgram* program);

  // Runs the zygote until its queue ends or it is told to exit. Returns its
  // exit code.
  int RunZygote();
  // Waits for the command to take over, then runs the zygote. Does not run it
  // if another command comes, or if the queue ends. Returns the exit code.
  int RunStandby();
  // Waits for the next message in `queue` and acts on it. Returns false if the
  // zygote must exit. A step of RunZygote().
  bool HandleNextMessage(const net::HandoffQueue& queue);

  // Lends the queue from which messages come.
  int queue_fd() const { return queue_fd_; }
  // Returns the event that the zygote notifies when it has processed a message.
  const net::EventFd& doorbell() const { return *doorbell_; }
  // Makes `fd` the queue from which messages come, in this process and in
  // processes that it forks later.
  void UseQueue(int fd);
  // Returns the private descriptors that the zygote and the standby keep, in
  // ascending order.
  const std::array<int, 3>& kept_fds() const { return kept_fds_; }
  // Returns the table that this process writes and the supervisor reads.
  const SpawnTable& table() const { return table_; }
  // Returns the cell of the standby in the table.
  uint32_t standby_cell() const { return table_.size() - 1; }
  // Returns the cell of the child that was created by kRehearse.
  uint32_t rehearsal_cell() const { return table_.size() - 2; }

 private:
  // Creates a child that serves the connection of `message`. Tries again for
  // half a second, and then records the errno. Does nothing if the table has
  // the outcome of the message already, or if the slot is not one of a
  // connection.
  void CreateChild(const net::HandoffQueue::Message& message);
  // Creates a standby, in one attempt. Records its pid or the errno in
  // standby_cell() for number `serial`, unless the table has either already.
  void CreateStandby(uint32_t serial);
  // Creates a child that runs no handler and exits at once, in one attempt.
  // Records its pid or the errno in rehearsal_cell() for number `serial`,
  // unless the table has either already.
  void Rehearse(uint32_t serial);

  int queue_fd_;
  const int standby_fd_;
  const proc::Private<net::EventFd> doorbell_;
  std::array<int, 3> kept_fds_;
  SpawnTable table_;
  proc::Spawner* const spawner_;
  const ChildProgram* const program_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_PROCESS_H_

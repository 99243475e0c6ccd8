// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_LAUNCH_LAUNCH_AREA_H_
#define BROOD_PROC_LAUNCH_LAUNCH_AREA_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace brood::proc {

// LaunchOrders is what a launched process does before it executes its program.
// Made in the parent. Plain data, because the process that reads it must not
// allocate, lock or write to anything of its parent.
struct LaunchOrders {
  // Whether the process moves to a new process group, or to a new session.
  bool begins_group;
  bool begins_session;
  // The parent with which the process dies; 0 if it outlives the parent.
  pid_t dies_with;
  // The limit of descriptors, if it is set, and the signals that the process
  // sets to their default action and to be ignored: signal n is bit n - 1.
  bool limits_descriptors;
  rlimit descriptors;
  uint64_t default_signals;
  uint64_t ignored_signals;
  // The connection, and the numbers that the program has for it, in ascending
  // order. Every other descriptor above 2 is closed.
  int connection;
  int targets[3];
  int target_count;
  // The working directory; null for that of the parent.
  const char* directory;
  // The arguments of execve(2).
  const char* path;
  char* const* arguments;
  char* const* environment;
  // How long the client may go on sending if the program is not executed.
  int64_t linger_ms;
};

// LaunchArea is the memory that the parent shares with one launched process:
// the orders, the stack on which the process carries them out, and what comes
// back from it.
//
// In parent-only memory. The parent writes to it while `in_use` is 0, and the
// launched process until it has executed its program or has ended.
struct LaunchArea {
  // The environment must fit into this.
  static constexpr size_t kMostVariables = 128;
  static constexpr size_t kTextSize = 8192;
  // Enough for the functions of launched_process.cc, without optimization too.
  static constexpr size_t kStackSize = 8192;

  // The process begins at the high end, which must be aligned.
  alignas(16) char stack[kStackSize];
  LaunchOrders orders;
  // 1 from before the process is created. The kernel writes 0 when the process
  // does not use this memory any more (CLONE_CHILD_CLEARTID).
  int in_use;
  // The call that failed, which the path of the program completes, and its
  // errno; null if none did.
  const char* failed_call;
  int error;
  // The environment.
  char* variables[kMostVariables + 1];
  char text[kTextSize];
};

}  // namespace brood::proc

#endif  // BROOD_PROC_LAUNCH_LAUNCH_AREA_H_

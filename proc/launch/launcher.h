// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_LAUNCH_LAUNCHER_H_
#define BROOD_PROC_LAUNCH_LAUNCHER_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/proc/launch/launch_area.h"
#include "brood/proc/spawn.h"

namespace brood::proc {

// LaunchedProgram describes how a program is launched for each connection.
//
// A value.
struct LaunchedProgram {
  // The path of the file, and the arguments; the first one is the name.
  std::string path;
  std::vector<std::string> arguments;
  // The numbers of descriptors that are the connection, at most three, in
  // ascending order.
  std::vector<int> targets;
  // Whether the program begins a session, whatever the settings are.
  bool begins_session = false;
  // The working directory; if empty, that of the parent.
  std::string directory;
  // The signals that the program ignores if this process, or its children by
  // the settings, ignore them. Every other signal has its default action.
  std::vector<int> kept_if_ignored;
  // The process with which the program dies; 0 if there is none.
  pid_t dies_with = 0;
  // How long a client may go on sending if the program cannot be executed, in
  // milliseconds.
  int64_t linger_ms = 0;
};

// Launcher executes a program in a new process without a copy of this one: the
// process shares the memory of its parent for a few system calls, until
// execve(2). So the cost does not depend on the size of the parent.
//
// Unlike vfork(2), a launch does not make the parent wait: each process has a
// LaunchArea until it has left the memory of the parent. A file system that
// does not answer holds areas, and not the parent. With no free area, or where
// the kernel refuses such processes, the caller must fork.
//
// Process: parent, which may have threads. Owns the areas; those of a process
// that has not left yet stay mapped when the launcher is destroyed. Errors:
// those of clone3 by ErrnoStatus(). A program that cannot be executed is known
// when its process has ended: see TakeError().
//
// Example:
//   Launcher launcher(reaper.exit_signal(), settings, program);
//   launcher.Prepare();
//   auto child = launcher.Launch(connection.fd(), environment);
//   if (!child) ForkAndExecute(connection);
class Launcher {
 public:
  // Makes a launcher of `program`, in whose processes `settings` apply up to
  // execve(2). They notify this process of their end by `exit_signal` before
  // execve(2), and by SIGCHLD after it.
  Launcher(int exit_signal, const ChildSettings& settings,
           const LaunchedProgram& program);
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  ~Launcher();

  // Records which signals this process ignores. Must be called before the first
  // launch, and again after foreign code has run.
  void Prepare();

  // Executes the program with `environment`, which ends with a null pointer and
  // is copied, for the connection `connection`, which this process still owns.
  // Returns nothing if the program must be executed in another way.
  absl::optional<absl::StatusOr<SpawnedChild>> Launch(int connection,
                                                      char* const* environment);

  // Returns why the process `pid`, which has been reaped, could not execute the
  // program; OK if it did, or was not launched here. To be called for each
  // process that has ended.
  absl::Status TakeError(pid_t pid);

 private:
  static constexpr size_t kAreas = 32;

  // What launched processes use, and must not be freed before them.
  struct Shared;

  // Returns the number of an area that no process uses; kAreas if there is
  // none.
  size_t FindArea() const;
  // Copies `environment` to `area`. Returns false if it is too large.
  static bool CopyEnvironment(char* const* environment, LaunchArea* area);

  const int exit_signal_;
  const std::vector<int> ignored_by_settings_;
  std::unique_ptr<Shared> shared_;
  // Which process had each area last; 0 for none.
  std::array<pid_t, kAreas> pids_ = {};
  // Whether the kernel has refused to create such processes.
  bool is_refused_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_LAUNCH_LAUNCHER_H_

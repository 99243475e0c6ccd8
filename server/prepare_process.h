// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PREPARE_PROCESS_H_
#define BROOD_SERVER_PREPARE_PROCESS_H_

#include "absl/status/status.h"

namespace brood::server {

// ProcessOptions is what a program asks of its own process.
//
// A value, read by PrepareProcess().
struct ProcessOptions {
  // The value of `descriptors` that raises the limit as far as the hard limit
  // allows, to 2^20 at most: no strategy needs more at any cap.
  static constexpr int kUpToHardLimit = -1;

  // Sets how many descriptors the process may have open. If the soft limit
  // (RLIMIT_NOFILE) is lower, it is raised, to the hard limit at most. Children
  // of a server, and the program of an upgrade, get the limit back that the
  // process was started with, so a handler may call select(); other programs
  // that the process starts have the raised limit.
  //
  // Default: 0 (the limit is left as it is). Range: kUpToHardLimit, or 0 to
  // 2^31 - 1 descriptors.
  int descriptors = 0;

  // Moves the code of the program to huge pages. Children then start and end
  // faster, and 2 MiB of memory are used for each 2 MiB of code. The program
  // must be linked with -Wl,-z,noseparate-code,-z,max-page-size=0x200000.
  //
  // Default: false.
  bool huge_text = false;

  // Leaves the process open to others of the same user. If false, none of them
  // can read its memory, trace it or copy its descriptors, and the kernel
  // writes no core file of it (PR_SET_DUMPABLE): neither can a child that was
  // taken over. Signals are not affected. As another user than root, the
  // process and its children then cannot read /proc/self/environ nor write
  // /proc/self/oom_score_adj. A program that the process executes is open.
  //
  // Default: true, because the process is the program's.
  bool dumpable = true;
};

// Prepares this process to be a server, whatever its starter left to it:
// - Descriptors 0, 1 and 2 are open: /dev/null takes the place of one that is
//   not. Otherwise a listener could have the number of the log.
// - The signals by which a server is asked to stop or to upgrade (SIGTERM,
//   SIGINT, SIGHUP, SIGUSR2) are blocked until a server takes them: one that
//   comes before waits. No other signal is blocked.
// - SIGTERM, SIGUSR2 and SIGCHLD have their default action if they were
//   ignored. SIGHUP, SIGINT and SIGQUIT stay ignored, as nohup(1) and shells
//   mean it.
// - The queue in which the kernel keeps the exits of children
//   (RLIMIT_SIGPENDING) is as long as the hard limit allows.
// - What `options` asks for is done.
//
// This is the one place that looks at what the process was started with. The
// first server of the process logs what was changed, in one line, together with
// what is unusual and was left: signals that stay ignored, a limit of the size
// of files or of core files, a working directory that is gone, variables that a
// server reads, and a controlling terminal.
//
// For a program that is a server: call it in the first lines of main(), before
// the program has threads or descriptors. TcpServer::Create() never does any of
// this, because the process belongs to the embedder. A later call, for example
// after the flags are parsed, changes the signals no more and does the rest.
//
// Every step is tried. Returns the error of the first one that failed:
// ResourceExhausted if the hard limit is below `options.descriptors`,
// FailedPrecondition if the program is not linked for `options.huge_text`, or
// that of the call that failed, such as open. The program can go on: what it
// asked for in vain is as it was, or at the hard limit.
//
// Example:
//   ProcessOptions process;
//   process.descriptors = 4096;
//   const absl::Status prepared = PrepareProcess(process);
//   if (!prepared.ok()) std::cerr << "warning: " << prepared << std::endl;
absl::Status PrepareProcess(const ProcessOptions& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_PREPARE_PROCESS_H_

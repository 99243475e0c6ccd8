// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PREPARE_PROCESS_H_
#define BROOD_SERVER_PREPARE_PROCESS_H_

#include "absl/status/status.h"

namespace brood::server {

// ProcessOptions are the settings of the process of a server.
//
// A value, read by PrepareProcess().
struct ProcessOptions {
  // The value of `descriptors` that raises the limit as far as the hard limit
  // allows, to at most 2^20, which is enough for every strategy at every cap.
  static constexpr int kUpToHardLimit = -1;

  // Sets how many descriptors the process may have open. If the soft limit
  // (RLIMIT_NOFILE) is lower, it is raised, to the hard limit at most. Children
  // of a server, and the program of an upgrade, get the limit with which the
  // process was started, so a handler may call select(); other programs that
  // the process starts have the raised limit.
  //
  // Default: 0 (the limit is left as it is). Range: kUpToHardLimit, or 0 to
  // 2^31 - 1 descriptors.
  int descriptors = 0;

  // Moves the code of the program to huge pages, and its variables to one
  // mapping. Children then start and end faster, and the process uses 2 MiB of
  // memory for each 2 MiB of code. The program must be linked with
  // -Wl,-z,noseparate-code,-z,max-page-size=0x200000.
  //
  // Default: false.
  bool huge_text = false;

  // Leaves the process open to other processes of the same user. If false, no
  // such process, a compromised child among them, can read its memory, trace it
  // or copy its descriptors, and the kernel writes no core file of it
  // (PR_SET_DUMPABLE). Signals are not affected. If they do not run as root,
  // the process and its children then cannot read /proc/self/environ nor write
  // /proc/self/oom_score_adj. A program that the process executes is open
  // again.
  //
  // Default: true, because the process belongs to the embedder.
  bool dumpable = true;
};

// Prepares this process to be a server, whatever state it inherited:
// - Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed.
//   Otherwise a listener could get the number of the log.
// - Blocks the signals that request a stop or an upgrade (SIGTERM, SIGINT,
//   SIGHUP, SIGUSR2) until a server takes them: a signal that comes before that
//   stays pending. Unblocks all others.
// - Resets SIGTERM, SIGUSR2 and SIGCHLD to their default action if they were
//   ignored. SIGHUP, SIGINT and SIGQUIT stay ignored, because nohup(1) and
//   shells want that.
// - Makes the queue in which the kernel keeps the exits of children
//   (RLIMIT_SIGPENDING) as long as the hard limit allows.
// - Applies `options`.
//
// This is the only function that inspects what the process inherited. The first
// server of the process logs what was changed, in one line, together with what
// is unusual and was left as it is: signals that stay ignored, a limit of the
// size of files or of core files, a working directory that is gone, variables
// that a server reads, and a controlling terminal.
//
// For a program that is a server: call it in the first lines of main(), before
// the program has threads or descriptors. TcpServer::Create() never does any of
// this, because the process belongs to the embedder. A later call, for example
// after the flags are parsed, does not change signals again, and does the rest.
//
// Every step is tried. Returns the error of the first one that failed:
// ResourceExhausted if the hard limit is below `options.descriptors`,
// FailedPrecondition if the program is not linked for `options.huge_text`, or
// has threads; or that of the call that failed, such as open. The program can
// go on: a setting that failed is unchanged, or at the hard limit.
//
// Example:
//   ProcessOptions process;
//   process.descriptors = 4096;
//   const absl::Status prepared = PrepareProcess(process);
//   if (!prepared.ok()) std::cerr << "warning: " << prepared << std::endl;
absl::Status PrepareProcess(const ProcessOptions& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_PREPARE_PROCESS_H_

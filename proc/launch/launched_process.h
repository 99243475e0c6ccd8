// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_LAUNCH_LAUNCHED_PROCESS_H_
#define BROOD_PROC_LAUNCH_LAUNCHED_PROCESS_H_

namespace brood::proc {

// Carries out the orders of a launched process and executes its program.
// `area` is its LaunchArea.
//
// Runs in the launched process, which shares the memory of its parent, on the
// stack of the area, with every signal blocked. Writes to the area only, and
// makes raw calls only. The code is not instrumented by sanitizers, which would
// use the memory of the thread that created the process.
//
// Errors: if a step is refused, writes the call and its errno to the area, ends
// the connection as Linger() of net/io.h does, and exits with 111.
//
// Example:
//   CloneOntoStack(arguments, RunLaunchedProcess, area);
[[noreturn]] void RunLaunchedProcess(void* area);

}  // namespace brood::proc

#endif  // BROOD_PROC_LAUNCH_LAUNCHED_PROCESS_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_FORGED_REPORT_H_
#define BROOD_TESTING_ATTACKS_FORGED_REPORT_H_

#include <sys/resource.h>

#include <cstdint>

namespace brood::testing {

// ForgedReport is a report of a pool's worker, sent by a child that was taken
// over.
//
// A value. Reports have had two forms: `first` was the number of the worker,
// when all workers reported by one socket, and is kMark now. The server ignores
// reports of another form than the one that it expects.
//
// Example:
//   ForgedReport report = {ForgedReport::kMark, serial, 0, 0, 0, {}};
//   child.Syscall(SYS_sendto, fd, child.PutValue(report), sizeof(report), 0);
struct ForgedReport {
  // The mark of a report: "done" in ASCII.
  static constexpr uint32_t kMark = 0x646f6e65;

  // The number that the worker claims to have, or kMark.
  uint32_t first;
  // The serial number of the connection: 1 for the first one of a server.
  uint32_t serial;
  // The reported exit code.
  int32_t exit_code;
  // 1 if the worker exits.
  uint32_t leaves;
  // When the connection ended, in nanoseconds of the monotonic clock.
  int64_t done_at;
  // The resources that the connection used.
  rusage usage;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_ATTACKS_FORGED_REPORT_H_

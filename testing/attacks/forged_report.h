// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_FORGED_REPORT_H_
#define BROOD_TESTING_ATTACKS_FORGED_REPORT_H_

#include <sys/resource.h>

#include <cstdint>

namespace brood::testing {

// ForgedReport is the report of a pool's worker, as a child sends it that was
// taken over.
//
// A value. It has the two forms that reports have had: `first` is the number of
// the worker, when all workers reported by one socket, or kMark. What does not
// have the form that the server expects is no report.
//
// Example:
//   ForgedReport report = {ForgedReport::kMark, serial, 0, 0, 0, {}};
//   child.Syscall(SYS_sendto, fd, child.PutValue(report), sizeof(report), 0);
struct ForgedReport {
  // Is "done".
  static constexpr uint32_t kMark = 0x646f6e65;

  // Is the worker's number, as it claims, or kMark.
  uint32_t first;
  // Is the number of the connection: the first one of a server has 1.
  uint32_t serial;
  // Is the exit code that is reported.
  int32_t exit_code;
  // Is 1 if the worker exits.
  uint32_t leaves;
  // Is when the connection ended, in nanoseconds of the monotonic clock.
  int64_t done_at;
  // Is what the connection used.
  rusage usage;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_ATTACKS_FORGED_REPORT_H_

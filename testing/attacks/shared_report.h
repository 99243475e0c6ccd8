// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_SHARED_REPORT_H_
#define BROOD_TESTING_ATTACKS_SHARED_REPORT_H_

#include <sys/resource.h>

#include <cstdint>

namespace brood::testing {

// SharedReport is the report of a pool's worker in the form that it had when
// all workers reported by one socket: an attack that once worked is tried
// again as it was.
//
// Sent by a child that was taken over. A value.
//
// Example:
//   const SharedReport report = {index, serial, 0, 0, 0, {}};
//   child.Syscall(SYS_sendto, fd, child.PutValue(report), sizeof(report), 0);
struct SharedReport {
  // Is the worker's number, as it claims.
  uint32_t index;
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

#endif  // BROOD_TESTING_ATTACKS_SHARED_REPORT_H_

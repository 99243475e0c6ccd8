// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_FAULT_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_FAULT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "brood/testing/syscalls/syscall_errors.h"
#include "brood/testing/syscalls/syscall_table.h"

namespace brood::testing {

// Fault is a set of calls that fail in one run of a server: calls of one site,
// with one error.
//
// A value of the test process.
struct Fault {
  // The name of the site and of the function that it calls.
  std::string site, call;
  // The error, an errno.
  int error;
  // The number of the first call that fails, from 1 on, and the number of calls
  // that fail; SyscallTable::kForGood for all later calls.
  int64_t first, count;

  // Returns a description for the message of a failed test.
  std::string ToString() const;
};

// Returns the faults of `site`, which calls `call` and is run `runs` times:
// single failures of the first calls, of a call in the middle and of the last
// one; and permanent failures from the first and from the middle call on.
std::vector<Fault> FaultsAt(const SyscallTable::Site& site,
                            const std::string& call, int64_t runs,
                            const std::vector<SyscallError>& errors);

// Returns the failures that the events of `log` report: calls and errors, one a
// line.
std::string FailuresIn(absl::string_view log);

// Reports whether `text` names the call of `fault` or its error.
bool NamesFault(absl::string_view text, const Fault& fault);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_FAULT_H_

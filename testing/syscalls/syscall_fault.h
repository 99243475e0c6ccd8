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

// Fault is what fails in one life of a server: calls of a site, with an error.
//
// A value of the test process.
struct Fault {
  // The name of the site and of the function that it calls.
  std::string site, call;
  // The error, an errno.
  int error;
  // The number of the first call that fails, from 1 on, and the number of calls
  // that fail; SyscallTable::kForGood for all that follow.
  int64_t first, count;

  // Returns a description for the message of a failed test.
  std::string ToString() const;
};

// Returns the faults of `site`, which calls `call` and is run `runs` times:
// once at the first calls, at one in the middle and at the last, and for good
// from the first and from the middle on.
std::vector<Fault> FaultsAt(const SyscallTable::Site& site,
                            const std::string& call, int64_t runs,
                            const std::vector<SyscallError>& errors);

// Returns what the events of `log` report of failures: the calls and the
// errors, one a line.
std::string FailuresIn(absl::string_view log);

// Reports whether `text` names the call of `fault` or its error.
bool Tells(absl::string_view text, const Fault& fault);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_FAULT_H_

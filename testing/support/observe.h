// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_OBSERVE_H_
#define BROOD_TESTING_SUPPORT_OBSERVE_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/base/config.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace brood::testing {

// How many times slower a fork is with this sanitizer, which has many more
// mappings to copy. For tests that fork thousands of times.
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
inline constexpr int kCostOfFork = 8;
#else
inline constexpr int kCostOfFork = 1;
#endif

// Returns the processor time that `pid` itself has used, without that of its
// children. A process that is gone fails the test.
//
// The functions of this file observe any process of the same user, from the
// test process.
//
// Example:
//   ASSERT_TRUE(Await([&] { return server.zombies().empty(); }));
//   const absl::Duration before = CpuTimeOf(server.pid());
//   LetPass(absl::Seconds(1));
//   EXPECT_LT(CpuTimeOf(server.pid()) - before, absl::Milliseconds(20));
absl::Duration CpuTimeOf(pid_t pid);
// Returns the same; nothing for a process that is gone. (Zero is a valid
// result: the kernel updates the time when a process leaves its processor.)
absl::optional<absl::Duration> TryCpuTimeOf(pid_t pid);

// Waits until `condition`, which is called every millisecond, returns true.
// Returns false after `timeout`. For a condition without an event, such as a
// state in /proc.
bool Await(absl::FunctionRef<bool()> condition,
           absl::Duration timeout = absl::Seconds(10));

// Waits for `length`. For checks over a length of time, such as "at most 40
// calls in two seconds", and not for synchronization.
void LetPass(absl::Duration length);

// Waits until the server process `pid` sleeps in poll, and has finished all
// earlier work.
void AwaitIdle(pid_t pid);

// Stops `pid` by SIGSTOP, and waits until it has stopped.
void Freeze(pid_t pid);

// Returns the descriptors of `process`, a pid or "self", in ascending order.
std::vector<int> DescriptorsOf(const std::string& process);

// Returns the name of the file of the descriptor `fd` of this process in /proc:
// a path, "pipe:[4711]"; empty if `fd` is not open.
std::string WhatIs(int fd);

// Raises the limit of descriptors of this process to 4096, if it may, for tests
// with thousands of clients.
void RaiseDescriptorLimit();

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_OBSERVE_H_

// SPDX-License-Identifier: Apache-2.0

// What a whole-server test can see of a process from outside.
//
// Lives in the test process; works on any process of our user. Nothing here
// delays a test for the sake of waiting: Await() waits for a condition that
// nobody announces (a state in /proc), and LetPass() is for claims about a
// length of time, such as "for two seconds it makes no more than 40 calls".
//
// Example:
//   ASSERT_TRUE(Await([&] { return server.zombies().empty(); }));
//   const absl::Duration before = CpuTimeOf(server.pid());
//   LetPass(absl::Seconds(1));
//   EXPECT_LT(CpuTimeOf(server.pid()) - before, absl::Milliseconds(20));

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

// How many times more a sanitizer's fork costs: it copies many more mappings.
// For tests that make thousands.
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
inline constexpr int kCostOfFork = 8;
#else
inline constexpr int kCostOfFork = 1;
#endif

// Processor time that `pid` itself has used, its children's not included.
absl::Duration CpuTimeOf(pid_t pid);
// The same, and nothing for a process that is gone, which CpuTimeOf() fails
// for. (Zero is an answer: the kernel adds up when a process leaves its
// processor.)
absl::optional<absl::Duration> TryCpuTimeOf(pid_t pid);

// True once `condition` holds, which is asked every millisecond; false if it
// does not within `patience`.
bool Await(absl::FunctionRef<bool()> condition,
           absl::Duration patience = absl::Seconds(10));

// Returns when `length` has gone by.
void LetPass(absl::Duration length);

// Returns when the server process `pid` sleeps in its one poll, done with all
// that it has said so far.
void AwaitIdle(pid_t pid);

// Stops `pid` by SIGSTOP, and waits until it is.
void Freeze(pid_t pid);

// The descriptors of `process`, a pid or "self", in order.
std::vector<int> DescriptorsOf(const std::string& process);

// What a descriptor of ours is, in the kernel's words: a path, "pipe:[4711]";
// empty for what is none.
std::string WhatIs(int fd);

// Allows this process to hold some thousands of clients, if it may.
void RaiseDescriptorLimit();

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_OBSERVE_H_

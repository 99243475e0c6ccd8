// SPDX-License-Identifier: Apache-2.0

// FindCallSites: every call that this program makes from chosen functions, as
// the linker noted it down (--emit-relocs).
//
// A note (a relocation) says where in the code a symbol's address belongs, and
// which symbol; a call's return address is four bytes further on, on x86-64 as
// on AArch64. What is not a call but takes the function's address counts too,
// and shows as a site that is never run. Lives in any process, reads
// /proc/self/exe, once. Aborts, with the reason, if there are no notes to be
// read. Not thread-safe.
//
// Example:
//   for (const CallSite& site : FindCallSites({"brood::net"})) {
//     std::cout << site.function << " calls " << site.callee << std::endl;
//   }

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_SITES_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_SITES_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace brood::testing {

struct CallSite {
  std::string function;  // "brood::net::Listener::Accept"
  std::string callee;    // as the linker knows it
  bool imported;         // from a shared library
  uintptr_t returns_to;
};

// By address.
const std::vector<CallSite>& FindCallSites(
    const std::vector<std::string>& namespaces);

// The names of the source files that this program was made of, "listener.cc".
std::set<std::string> SourcesOfProgram();

// "brood::net::Accept(int) const" as "brood::net::Accept": without arguments,
// without what is in <>, and without "(anonymous namespace)::". Lambdas are
// "Accept::{lambda#1}".
std::string ShortenFunction(const std::string& demangled);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_SITES_H_

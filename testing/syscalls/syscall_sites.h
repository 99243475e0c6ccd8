// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_SITES_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_SITES_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace brood::testing {

// CallSite is a call in the code of this program. A value.
struct CallSite {
  // The calling function: "brood::net::Listener::Accept".
  std::string function;
  // The name of the called function for the linker.
  std::string callee;
  // Whether the called function is in a shared library.
  bool imported;
  // The return address.
  uintptr_t returns_to;
};

// Returns every call in functions of `namespaces`, sorted by address.
//
// Reads the relocations in /proc/self/exe (linker option --emit-relocs), once.
// A relocation is the place in the code at which the linker writes the address
// of a symbol; the return address of a call is four bytes further on, both on
// x86-64 and on AArch64. Code that takes the address of a function counts too,
// as a site that is never run. Works in any process. Aborts, with the reason,
// if there are no relocations. Not thread-safe.
//
// Example:
//   for (const CallSite& site : FindCallSites({"brood::net"})) {
//     std::cout << site.function << " calls " << site.callee << std::endl;
//   }
const std::vector<CallSite>& FindCallSites(
    const std::vector<std::string>& namespaces);

// Returns the names of the source files of this program, such as "listener.cc".
std::set<std::string> SourcesOfProgram();

// Returns the short name of a function: "brood::net::Accept" for
// "brood::net::Accept(int) const". Removes arguments, the text in <>, and
// "(anonymous namespace)::". Lambdas are "Accept::{lambda#1}".
std::string ShortenFunction(const std::string& demangled);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_SITES_H_

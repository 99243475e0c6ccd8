// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_TABLE_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace brood::testing {

// SyscallTable makes chosen call sites of the server process fail, by name.
//
// A site is one call in the source: the function, the function that it calls,
// and a number if there are several, "net::Listener::Listen setsockopt #2". See
// syscall_table.cc for how it works and what a test must be linked with.
//
// Create one object in the test process, before the server process is forked.
// Not for threads. Errors: aborts for a text that names no site or several.
//
// Example:
//   TEST_F(ServerTest, ServesEachClientWithoutFreeDescriptors) {
//     SyscallTable calls({"brood::net"});
//     calls.Fail("Listener::Accept accept4", EMFILE, /*first=*/2, /*count=*/3);
//     TestServer::Setup setup;
//     setup.before = [&] { calls.Arm(); };
//     auto server = StartServer(std::move(setup));
//   ... serve five clients and stop ...
//     EXPECT_EQ(calls.failed("Listener::Accept accept4"), 3);
//   }
class SyscallTable {
 public:
  // The count that stands for all later calls.
  static constexpr int64_t kForGood = std::numeric_limits<int64_t>::max();

  // Site is a call in the source.
  struct Site {
    // The name: "net::Listener::Accept accept4".
    std::string name;
    // The function that is called: "accept4".
    std::string call;
    // The return address.
    uintptr_t returns_to;
  };

  // Lists the sites in functions of `namespaces`, such as "brood::net", and of
  // namespaces in them. Aborts if the program is not linked in the right way.
  explicit SyscallTable(const std::vector<std::string>& namespaces);
  SyscallTable(const SyscallTable&) = delete;
  SyscallTable& operator=(const SyscallTable&) = delete;
  // Ends the failures. The server process must have ended.
  ~SyscallTable();

  // Makes the calling process the one whose calls fail. Called in the server
  // process; the calls of its children do not fail, and are counted separately.
  void Arm();

  // Makes the calls `first` to `first + count - 1` from now on fail with the
  // errno `error` and without an effect (except close, which closes all the
  // same, as that of the kernel does). `text` is the name of a site, or an end
  // of a name that no other site has. May be called in either process.
  void Fail(absl::string_view text, int error, int64_t first = 1,
            int64_t count = 1);
  // Makes all calls from now on fail with the errno `error`.
  void FailAlways(absl::string_view text, int error) {
    Fail(text, error, 1, kForGood);
  }
  // Ends all failures, and sets all counts to zero.
  void Reset();

  // Returns how many calls the armed process has made since it was armed.
  int64_t calls(absl::string_view text) const;
  // Returns how many of these calls have failed.
  int64_t failed(absl::string_view text) const;
  // Returns how many calls other processes have made.
  int64_t calls_elsewhere(absl::string_view text) const;
  // Returns the number of the last system call that the site made by syscall();
  // -1 if there is none.
  int64_t number(absl::string_view text) const;

  // Returns all sites, sorted by name.
  const std::vector<Site>& sites() const { return sites_; }
  // Returns the functions of shared libraries, by their names in C, that the
  // functions of these namespaces call and that cannot fail by this table. A
  // test can check here that no system call is missing.
  const std::set<std::string>& not_diverted() const { return not_diverted_; }

  // Reports whether the call that returns to `caller` must fail; errno is the
  // error then. For the diverted calls.
  static bool Fails(const void* caller, int64_t number = -1);

 private:
  struct Cell;

  // Finds the sites in the functions of `namespaces`, and names them. Aborts
  // the program if no call is diverted.
  void FindSites(const std::vector<std::string>& namespaces);
  // Returns the counts of the site that `text` names. Aborts the program, with
  // all names, if there is no such site, or more than one.
  Cell& CellOf(absl::string_view text) const;
  // Counts a call that returns to `caller`, and stores its `number` unless that
  // is negative. Returns whether it must fail, as Fails() does; false if there
  // is no such site.
  bool FailsAt(uintptr_t caller, int64_t number);

  std::vector<Site> sites_;
  std::set<std::string> not_diverted_;
  // Indices in sites_ and cells_, sorted by the return address.
  std::vector<size_t> by_address_;
  Cell* cells_ = nullptr;  // shared with the children
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_TABLE_H_

// SPDX-License-Identifier: Apache-2.0

// SyscallTable: makes any call site of the program under test fail, by name.
//
// Who links with this library has the calls of kWrapped() (testing/BUILD lists
// them) diverted at link time: each asks the table first, and goes on to the C
// library if that has nothing against it. Production code is the same, and so
// is the server; there is no ptrace, no privilege, no thread. A call of one
// process alone is ever failed: the one that called Arm(). Its children inherit
// the table, and their calls always go on, and are counted apart.
//
// A site is one call in the source: the function, what it calls, and which one
// of several it is, "net::Listener::Listen setsockopt #2". The table lists all
// there are in the functions that it is made for, whether they are ever run or
// not: it reads the relocations of its own program, which the linker leaves in.
// So a test can say that it has failed each of them. That needs a test with
// `linkstatic = True`, for calls from a shared library are not diverted, and no
// optimization, for the compiler may make two sites of one or none at all.
//
//   Which one?   FaultInjector   at the kernel's door: any program, any build,
//                                by the number of the system call
//                SyscallTable    one site and no other, also those which look
//                                alike to the kernel; several calls of the C
//                                library (fopen, opendir) that are no system
//                                calls; costs nothing, works in any sandbox
//
// Make it in the test process, before the server process is forked, and one at
// a time; it must be there for as long as the server process. Sites are
// scripted and counted in either process. Not for threads.
//
// Errors: a text that names no site, or more than one, aborts, with what there
// is to choose from; so does a program that was not linked as it should be. An
// errno is a positive number.
//
// Example:
//   TEST_F(ServerTest, LosesNobodyForWantOfDescriptors) {
//     SyscallTable calls({"brood::net"});
//     calls.Fail("Listener::Accept accept4", EMFILE, /*first=*/2, /*count=*/3);
//     TestServer::Setup setup;
//     setup.before = [&] { calls.Arm(); };
//     auto server = StartServer(std::move(setup));
//     for (int client = 1; client <= 5; ++client) {
//       EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
//     }
//     EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 5u);
//     EXPECT_EQ(calls.failed("Listener::Accept accept4"), 3);
//   }

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

class SyscallTable {
 public:
  static constexpr int64_t kForGood = std::numeric_limits<int64_t>::max();

  // A call in the source, of the functions of these namespaces.
  struct Site {
    std::string name;  // "net::Listener::Accept accept4"
    std::string call;  // "accept4"
    uintptr_t returns_to;
  };

  // For the sites in functions of `namespaces`, each as "brood::net"; what lies
  // deeper in them is included.
  explicit SyscallTable(const std::vector<std::string>& namespaces);
  SyscallTable(const SyscallTable&) = delete;
  SyscallTable& operator=(const SyscallTable&) = delete;
  ~SyscallTable();

  // In the server process: from now on this is the one that is meant.
  void Arm();

  // The calls `first` to `first + count - 1` from now on fail with `error` and
  // do nothing (but close, which closes all the same, as the kernel's does).
  // `text` is a site's name, or an end of it that no other has.
  void Fail(absl::string_view text, int error, int64_t first = 1,
            int64_t count = 1);
  void FailAlways(absl::string_view text, int error) {
    Fail(text, error, 1, kForGood);
  }
  // Forgets what was scripted for all of them, and how often they were called.
  void Reset();

  // How many calls there were in the armed process since it was armed, how many
  // of them were failed, and how many there were in any other process.
  int64_t calls(absl::string_view text) const;
  int64_t failed(absl::string_view text) const;
  int64_t calls_elsewhere(absl::string_view text) const;
  // The system call that was last made there by syscall(); -1 for none.
  int64_t number(absl::string_view text) const;

  // All sites, by name.
  const std::vector<Site>& sites() const { return sites_; }
  // What else is called there that is neither diverted nor part of the program:
  // functions of shared libraries, by their names in C. A test that means to
  // fail every system call can see here that none is missing.
  const std::set<std::string>& not_diverted() const { return not_diverted_; }

  // For the diverted calls. Whether the one that returns to `caller` is to
  // fail; errno says why.
  static bool Fails(const void* caller, int64_t number = -1);

 private:
  struct Cell;

  void FindSites(const std::vector<std::string>& namespaces);
  Cell& CellOf(absl::string_view text) const;
  bool FailsAt(uintptr_t caller, int64_t number);

  std::vector<Site> sites_;
  std::set<std::string> not_diverted_;
  // By the address that they return to: places in sites_ and cells_.
  std::vector<size_t> by_address_;
  Cell* cells_ = nullptr;  // shared with the children
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_TABLE_H_

// SPDX-License-Identifier: Apache-2.0

// Checks that no site is left out: every source of a server is in this program,
// and a SyscallTable can fail every call that can fail.

#include "brood/testing/syscalls/syscall_sites.h"

#include <set>
#include <string>
#include <vector>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/syscalls/syscall_scenarios.h"
#include "brood/testing/syscalls/syscall_table.h"
#include "brood/testing/test_server.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using SyscallSitesTest = LeakCheck;

// Functions of the C library that are called and do not fail: they make no
// system call or one that always succeeds, or they end the process.
const std::set<std::string>& Harmless() {
  static const auto* const harmless = new std::set<std::string>{
      // Memory and text.
      "memchr", "memcmp", "memcpy", "memmove", "memset", "strchr", "strcmp",
      "strlen", "strrchr", "atoi", "snprintf", "vsnprintf", "inet_ntop",
      "inet_pton", "htonl", "htons", "ntohl", "ntohs", "sigabbrev_np",
      "sigdescr_np", "strerrordesc_np", "__cmsg_nxthdr", "in6addr_any",
      "__ctype_b_loc",
      // Sets of signals.
      "sigaddset", "sigdelset", "sigemptyset", "sigfillset", "sigismember",
      "__libc_current_sigrtmax", "raise", "signal",
      // Restores a mask of signals that was read before.
      "pthread_sigmask", "__libc_current_sigrtmin",
      // Attributes of the process itself, and of its environment.
      "sched_yield", "getpid", "getppid", "getenv", "unsetenv", "sysconf",
      "umask", "environ", "dl_iterate_phdr", "dirfd", "__errno_location",
      "geteuid", "gnu_dev_major", "gnu_dev_makedev", "gnu_dev_minor",
      "__libc_single_threaded", "access", "stderr", "stdout", "__fpending",
      "__fpurge", "getresuid", "getresgid", "setfsuid", "setfsgid", "getgroups",
      // Steps of a child at its start, which cannot fail in a new process.
      "setpgid", "setsid",
      // Execution of a program: in a child, which ends if it fails, or at the
      // start, which then fails (exec_test, program_file_test).
      "execve", "chdir", "getsid", "faccessat",
      // Resource usage of a worker.
      "personality", "sigaltstack", "statx",
      // Attributes for the start of a program: these fail with EINVAL only, or
      // never.
      "posix_spawn_file_actions_destroy", "posix_spawnattr_destroy",
      "posix_spawnattr_setflags", "posix_spawnattr_setsigdefault",
      "posix_spawnattr_setsigmask", "posix_spawnattr_setpgroup",
      // The end of a process. (A child flushes; before abort() it logs why.)
      "_exit", "abort", "fflush", "fprintf", "__assert_fail",
      "__stack_chk_fail", "__cxa_atexit", "pthread_mutex_lock",
      "pthread_mutex_unlock",
      // The language.
      "_Unwind_Resume", "__cxa_allocate_exception", "__cxa_free_exception",
      "__cxa_begin_catch", "__cxa_end_catch", "__cxa_rethrow", "__cxa_throw",
      "__cxa_call_terminate", "__cxa_get_exception_ptr", "strtol",
      "__isoc23_strtol", "__cxa_guard_abort", "__cxa_guard_acquire",
      "__cxa_guard_release", "__cxa_pure_virtual", "__gxx_personality_v0",
      "__dso_handle", "__tls_get_addr", "_GLOBAL_OFFSET_TABLE_"};
  return *harmless;
}

TEST_F(SyscallSitesTest, EveryCallThatCanFailIsInTheTable) {
#if defined(__OPTIMIZE__) || defined(ABSL_HAVE_ADDRESS_SANITIZER)
  GTEST_SKIP()
      << "with an optimizer or a sanitizer the calls differ from the source";
#endif
  const SyscallTable table({"brood::net", "brood::proc", "brood::server"});
  for (const std::string& call : table.not_diverted()) {
    if (Harmless().count(call) > 0) continue;
    ADD_FAILURE() << call << " is called by a server. If it can fail, add it "
                  << "to DIVERTED_CALLS and syscall_wraps.cc; if not, to "
                  << "the list above";
  }
}

TEST_F(SyscallSitesTest, EverySourceIsInTheProgram) {
  // The paths have this form in the list of the sources.
  const ShortDir dir;
  const std::vector<Scenario> scenarios = Scenarios(dir);
  TestServer::Setup setup;
  scenarios.at(0).prepare(setup);
  const std::set<std::string> here = SourcesOfProgram();
  int sources = 0;
  for (const std::string& path : ::testing::internal::GetArgvs()) {
    if (!absl::EndsWith(path, ".cc")) continue;
    ++sources;
    EXPECT_EQ(here.count(path.substr(path.rfind('/') + 1)), 1u)
        << path << " is not run by any of syscall_scenarios.cc";
  }
  EXPECT_GT(sources, 0);
}

TEST_F(SyscallSitesTest, FunctionsHaveShortNames) {
  const struct {
    const char *demangled, *expected;
  } rows[] = {
      {"brood::net::Listener::Accept()", "brood::net::Listener::Accept"},
      {"brood::net::Listener::queued() const", "brood::net::Listener::queued"},
      {"brood::proc::(anonymous namespace)::IsExiting(char const*)",
       "brood::proc::IsExiting"},
      {"brood::net::ReadSome(brood::net::UniqueFd const&, absl::Span<char>)::"
       "{lambda(int)#1}::operator()(int) const",
       "brood::net::ReadSome::{lambda#1}"},
      {"absl::StatusOr<unsigned long> brood::net::(anonymous namespace)::"
       "MoveSome<brood::net::X>(int, short)",
       "brood::net::MoveSome"},
      {"brood::proc::ProcessState::Status[abi:cxx11]() const",
       "brood::proc::ProcessState::Status"},
      {"brood::net::Listener::Listen(int) [clone .localalias]",
       "brood::net::Listener::Listen"},
      {"brood::net::UniqueFd::~Socket()", "brood::net::UniqueFd::~Socket"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(ShortenFunction(row.demangled), row.expected);
  }
}

}  // namespace
}  // namespace brood::testing

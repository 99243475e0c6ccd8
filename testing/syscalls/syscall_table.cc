// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/syscalls/syscall_table.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "brood/testing/syscalls/syscall_sites.h"

namespace brood::testing {
namespace {

constexpr absl::string_view kDiverted = "__wrap_";

// How it works: in a program that links with this library, the calls in
// DIVERTED_CALLS (see BUILD) are diverted at link time. Each first calls
// SyscallTable::Fails(), and then the C library unless it must fail. The code
// of the server is unchanged; no ptrace, privilege or thread is needed. The
// list of sites comes from the relocations that the linker leaves in the
// program, so that it includes sites that never run, and a test can check that
// it has failed each.
//
// That needs a test with `linkstatic = True`, because calls from a shared
// library are not diverted; and no optimization, because the compiler may make
// two sites of one, or remove one.
//
// Compared with FaultInjector, which works for any program and any build by the
// number of the system call: this table can fail one site and no other, and
// calls of the C library that are not system calls (fopen, opendir); it costs
// nothing, and works in any sandbox.

// The one table, and the process whose calls fail.
SyscallTable* the_table = nullptr;
pid_t armed = 0;

[[noreturn]] void GiveUp(const std::string& why) {
  std::fprintf(stderr, "syscall table: %s\n", why.c_str());
  std::abort();
}

// Reports whether `text` is an end of a name: of "net::Listener::Accept
// accept4", these are "Listener::Accept accept4", "Accept accept4" and
// "accept4".
bool IsEndOf(absl::string_view text, absl::string_view name) {
  if (!absl::ConsumeSuffix(&name, text)) return false;
  return name.empty() || name.back() == ':' || name.back() == ' ';
}

}  // namespace

// Cell is the script of a site, and its counts. The test process writes the
// script while the server process runs.
struct SyscallTable::Cell {
  std::atomic<int64_t> calls{0};
  std::atomic<int64_t> failed{0};
  std::atomic<int64_t> elsewhere{0};
  std::atomic<int64_t> number{-1};
  // The calls from `first` on and before `end` fail.
  std::atomic<int64_t> first{0};
  std::atomic<int64_t> end{0};
  std::atomic<int> error{0};
};

SyscallTable::SyscallTable(const std::vector<std::string>& namespaces) {
  if (the_table != nullptr) GiveUp("there is one already");
  FindSites(namespaces);
  const size_t size = std::max<size_t>(1, sites_.size()) * sizeof(Cell);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) GiveUp("no memory");
  cells_ = static_cast<Cell*>(memory);
  for (size_t i = 0; i < sites_.size(); ++i) new (&cells_[i]) Cell;
  the_table = this;
}

SyscallTable::~SyscallTable() {
  the_table = nullptr;
  armed = 0;
  munmap(cells_, std::max<size_t>(1, sites_.size()) * sizeof(Cell));
}

void SyscallTable::FindSites(const std::vector<std::string>& namespaces) {
  std::map<std::string, int> count;
  for (const CallSite& found : FindCallSites(namespaces)) {
    absl::string_view call = found.callee;
    if (!absl::ConsumePrefix(&call, kDiverted)) {
      // Without the functions of C++, which belong to its library.
      if (found.imported && !absl::StartsWith(call, "_Z")) {
        not_diverted_.insert(found.callee);
      }
      continue;
    }
    absl::ConsumePrefix(&call, "__isoc99_");
    absl::ConsumePrefix(&call, "__isoc23_");
    absl::string_view function = found.function;
    absl::ConsumePrefix(&function, "brood::");
    std::string name = absl::StrCat(function, " ", call);
    const int ordinal = ++count[name];
    sites_.push_back({ordinal == 1 ? name : absl::StrCat(name, " #", ordinal),
                      std::string(call), found.returns_to});
  }
  if (sites_.empty()) {
    GiveUp("no call is diverted; is the test linkstatic = True?");
  }
  // Several calls of one function get numbers.
  for (Site& site : sites_) {
    const auto several = count.find(site.name);
    if (several != count.end() && several->second > 1) site.name += " #1";
  }
  std::sort(sites_.begin(), sites_.end(),
            [](const Site& a, const Site& b) { return a.name < b.name; });
  by_address_.resize(sites_.size());
  for (size_t i = 0; i < sites_.size(); ++i) by_address_[i] = i;
  std::sort(by_address_.begin(), by_address_.end(), [this](size_t a, size_t b) {
    return sites_[a].returns_to < sites_[b].returns_to;
  });
}

void SyscallTable::Arm() {
  if (the_table != this) GiveUp("the armed table must be the only one");
  armed = getpid();
}

SyscallTable::Cell& SyscallTable::CellOf(absl::string_view text) const {
  std::vector<size_t> chosen;
  std::string names;
  for (size_t i = 0; i < sites_.size(); ++i) {
    if (sites_[i].name == text) return cells_[i];
    absl::StrAppend(&names, "\n  ", sites_[i].name);
    if (IsEndOf(text, sites_[i].name)) chosen.push_back(i);
  }
  if (chosen.size() != 1) {
    GiveUp(absl::StrCat("\"", text, "\" is the name of ", chosen.size(),
                        " sites; there are", names));
  }
  return cells_[chosen[0]];
}

void SyscallTable::Fail(absl::string_view text, int error, int64_t first,
                        int64_t count) {
  Cell& cell = CellOf(text);
  cell.end = 0;
  cell.error = error;
  cell.first = cell.calls + first;
  cell.end = count > kForGood - cell.first ? kForGood : cell.first + count;
}

void SyscallTable::Reset() {
  for (size_t i = 0; i < sites_.size(); ++i) new (&cells_[i]) Cell;
}

int64_t SyscallTable::calls(absl::string_view text) const {
  return CellOf(text).calls;
}
int64_t SyscallTable::failed(absl::string_view text) const {
  return CellOf(text).failed;
}
int64_t SyscallTable::calls_elsewhere(absl::string_view text) const {
  return CellOf(text).elsewhere;
}
int64_t SyscallTable::number(absl::string_view text) const {
  return CellOf(text).number;
}

bool SyscallTable::Fails(const void* caller, int64_t number) {
  // `armed` is zero in the test process, whose calls are not counted.
  if (the_table == nullptr || armed == 0) return false;
  return the_table->FailsAt(reinterpret_cast<uintptr_t>(caller), number);
}

bool SyscallTable::FailsAt(uintptr_t caller, int64_t number) {
  const auto found =
      std::lower_bound(by_address_.begin(), by_address_.end(), caller,
                       [this](size_t site, uintptr_t wanted) {
                         return sites_[site].returns_to < wanted;
                       });
  if (found == by_address_.end() || sites_[*found].returns_to != caller) {
    return false;
  }
  Cell& cell = cells_[*found];
  if (number >= 0) cell.number = number;
  if (getpid() != armed) {
    ++cell.elsewhere;
    return false;
  }
  const int64_t call = ++cell.calls;
  if (call < cell.first || call >= cell.end) return false;
  ++cell.failed;
  errno = cell.error;
  return true;
}

}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/syscalls/syscall_fault.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/logged_event.h"

namespace brood::testing {

std::string Fault::ToString() const {
  return absl::StrCat(site, ": ", strerrorname_np(error), " at call ", first,
                      count == 1 ? "" : ", and all later calls");
}

std::vector<Fault> FaultsAt(const SyscallTable::Site& site,
                            const std::string& call, int64_t runs,
                            const std::vector<SyscallError>& errors) {
  const int64_t middle = (runs + 1) / 2;
  std::set<int64_t> once = {middle, runs}, for_good = {1, middle};
  for (int64_t n = 1; n <= std::min<int64_t>(runs, 3); ++n) once.insert(n);
  std::vector<Fault> faults;
  for (const SyscallError& error : errors) {
    for (int64_t n : once) {
      faults.push_back({site.name, call, error.error, n, 1});
    }
    if (error.passes) continue;
    for (int64_t n : for_good) {
      faults.push_back(
          {site.name, call, error.error, n, SyscallTable::kForGood});
    }
  }
  return faults;
}

std::string FailuresIn(absl::string_view log) {
  std::string text;
  for (const LoggedEvent& event : EventsOf(log, "")) {
    for (const char* key : {"brood.call", "error.message"}) {
      if (event.Has(key)) absl::StrAppend(&text, event.Text(key), "\n");
    }
  }
  return text;
}

bool NamesFault(absl::string_view text, const Fault& fault) {
  const std::string& call = fault.call;
  return absl::StrContains(
             text, call.substr(0, call.find_last_not_of("0123456789") + 1)) ||
         absl::StrContains(text, strerror(fault.error));
}

}  // namespace brood::testing

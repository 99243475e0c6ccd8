// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/machine_limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "brood/server/process/descriptor_budget.h"

namespace brood::server {

std::vector<std::string> LimitsTooLowFor(const Options& options) {
  const size_t children = options.Capacity();
  std::vector<std::string> sentences;
  rlimit limit;
  // The program can be upgraded, so its need is that of a server with a
  // command. It raises the soft limit to the hard one.
  Options upgradable = options;
  upgradable.upgrade.command = {"/"};
  const DescriptorBudget budget =
      DescriptorBudget::For(upgradable, CountOpenDescriptors());
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
      limit.rlim_max < budget.total()) {
    sentences.push_back(
        absl::StrCat("the hard limit of descriptors (ulimit -Hn ",
                     limit.rlim_max, ") is below the ", budget.total(),
                     " that may be needed (", budget.ToString(),
                     "): workers that do not fit are not created, and "
                     "clients wait while no descriptor is free"));
  }
  // The program raises the soft limit to the hard one.
  if (getrlimit(RLIMIT_SIGPENDING, &limit) == 0 && limit.rlim_max < children) {
    sentences.push_back(
        absl::StrCat("the hard limit of pending signals (ulimit -Hi ",
                     limit.rlim_max, ") is below the ", children,
                     " children that may be alive at once: if "
                     "many end at once, some are reaped late"));
  }
  // The kernel exempts the superuser.
  if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &limit) == 0 &&
      limit.rlim_cur < children) {
    sentences.push_back(absl::StrCat("the limit of processes (ulimit -u ",
                                     limit.rlim_cur, ") is below the ",
                                     children,
                                     " children that may be alive at once: "
                                     "clients wait while it is reached"));
  }
  return sentences;
}

}  // namespace brood::server

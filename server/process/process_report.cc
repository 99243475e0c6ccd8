// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/process_report.h"

#include <sys/resource.h>

#include <cstddef>
#include <string>

#include "brood/server/process/descriptor_budget.h"
#include "brood/server/process/preparation.h"

namespace brood::server {

void ReportProcess(const Options& options, EventLog* log) {
  const std::string inherited = Preparation::OfThisProcess().TakeReport();
  if (!inherited.empty()) log->Inherited(inherited);

  // The kernel keeps the exits of children in a queue, and limits its length.
  rlimit limit;
  const auto cap = static_cast<size_t>(options.max_connections);
  if (getrlimit(RLIMIT_SIGPENDING, &limit) == 0 && limit.rlim_cur < cap) {
    log->SignalQueueTooSmall(limit.rlim_cur, cap);
  }

  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  const DescriptorBudget budget =
      DescriptorBudget::For(options, CountOpenDescriptors());
  if (limit.rlim_cur < budget.total()) {
    log->DescriptorsShort(limit.rlim_cur, budget.total(), budget.ToString());
  }
}

}  // namespace brood::server

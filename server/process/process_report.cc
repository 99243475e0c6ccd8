// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/process_report.h"

#include <sys/resource.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "brood/proc/hardening/exposure.h"
#include "brood/proc/hardening/stack_canary.h"
#include "brood/server/process/descriptor_budget.h"
#include "brood/server/process/preparation.h"
#include "brood/server/strategy_kind.h"

namespace brood::server {
namespace {

// Logs the hardening that children of this process cannot apply. A stack canary
// that cannot be changed is not logged: the documentation lists these machines.
void ReportHardening(const Options& options, EventLog* log) {
  const HardeningOptions& asked = options.hardening;
  if (asked.stack_canary) {
    const absl::Status drawn = proc::CheckStackCanary();
    if (!drawn.ok() && !absl::IsUnimplemented(drawn)) {
      log->HardeningRefused("hardening.stack_canary", drawn);
    }
  }
  if (asked.oom_score_adj > 0 &&
      (asked.oom_score_with_fork || options.strategy != StrategyKind::kFork)) {
    const absl::Status written = proc::CheckOomScore();
    if (!written.ok()) {
      log->HardeningRefused("hardening.oom_score_adj", written);
    }
  }
}

}  // namespace

void ReportProcess(const Options& options, EventLog* log) {
  const std::string inherited = Preparation::OfThisProcess().TakeReport();
  if (!inherited.empty()) log->Inherited(inherited);

  ReportHardening(options, log);

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

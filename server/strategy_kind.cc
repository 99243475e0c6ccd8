// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy_kind.h"

#include "brood/server/text/name_table.h"

namespace brood::server {
namespace {

constexpr NamedValue<StrategyKind> kNames[] = {
    {StrategyKind::kFork, "fork"}, {StrategyKind::kSpares, "spares"},
    {StrategyKind::kPool, "pool"}, {StrategyKind::kZygote, "zygote"},
    {StrategyKind::kAuto, "auto"},
};

}  // namespace

absl::string_view NameOf(StrategyKind kind) { return FindName(kNames, kind); }

absl::StatusOr<StrategyKind> ParseStrategyKind(absl::string_view text) {
  return ParseName(kNames, "strategy", text);
}

std::vector<StrategyKind> AllStrategyKinds() {
  std::vector<StrategyKind> kinds;
  for (const NamedValue<StrategyKind>& row : kNames) kinds.push_back(row.value);
  return kinds;
}

}  // namespace brood::server

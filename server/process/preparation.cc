// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/preparation.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace brood::server {

Preparation& Preparation::OfThisProcess() {
  static auto* const preparation = new Preparation;
  return *preparation;
}

std::string Preparation::TakeReport() {
  if (changes_.empty()) return "";
  std::string report = absl::StrJoin(changes_, "; ");
  for (const std::string& phrase : notices_) {
    absl::StrAppend(&report, "; ", phrase);
  }
  changes_.clear();
  notices_.clear();
  return report;
}

}  // namespace brood::server

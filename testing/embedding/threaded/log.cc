// SPDX-License-Identifier: Apache-2.0

#include "threaded/log.h"

namespace embedder {

void Log::Say(absl::string_view line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++said_;
  last_.emplace_back(line);
  if (last_.size() > kLinesKept) last_.pop_front();
}

size_t Log::said() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return said_;
}

}  // namespace embedder

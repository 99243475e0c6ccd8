// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_INTERNAL_SHARED_TEXTS_H_
#define BROOD_TESTING_INTERNAL_SHARED_TEXTS_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace brood::testing {

// SharedTexts is a list of texts in memory that processes share (see shared.h,
// or the report of a TestServer).
//
// Any of the processes may add a text at any time, without a lock. What exceeds
// 32 KiB is cut off. Get() may be called when the processes that add texts have
// ended.
//
// Example:
//   Shared<SharedTexts> texts;
//   if (fork() == 0) texts->Add("forked"), _exit(0);
class SharedTexts {
 public:
  // Adds `text`, which contains no NUL.
  void Add(absl::string_view text) {
    const size_t start = size_.fetch_add(text.size() + 1);
    if (start >= sizeof(bytes_)) return;
    const size_t room = sizeof(bytes_) - start - 1;
    std::memcpy(bytes_ + start, text.data(), std::min(room, text.size()));
  }
  // Returns the texts, in the order in which they were added.
  std::vector<std::string> Get() const {
    const size_t size = std::min(size_.load(), sizeof(bytes_));
    return absl::StrSplit(absl::string_view(bytes_, size), '\0',
                          absl::SkipEmpty());
  }

 private:
  std::atomic<size_t> size_{0};
  char bytes_[32 << 10] = {};
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_SHARED_TEXTS_H_

// SPDX-License-Identifier: Apache-2.0

// SharedTexts: texts that a process and those it forked tell each other.
//
// To be placed in memory that they share (see shared.h, or the report of a
// TestServer). Any of them adds at any time, without a lock; what there is no
// room for is cut off. Get() is for when those who add have ended.
//
// Example:
//   Shared<SharedTexts> news;
//   if (fork() == 0) news->Add("born"), _exit(0);

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

class SharedTexts {
 public:
  // `text` has no NUL in it.
  void Add(absl::string_view text) {
    const size_t start = size_.fetch_add(text.size() + 1);
    if (start >= sizeof(bytes_)) return;
    const size_t room = sizeof(bytes_) - start - 1;
    std::memcpy(bytes_ + start, text.data(), std::min(room, text.size()));
  }
  // In the order of their coming.
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

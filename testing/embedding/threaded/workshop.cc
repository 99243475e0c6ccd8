// SPDX-License-Identifier: Apache-2.0

#include "threaded/workshop.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace embedder {

Workshop::Workshop(int threads, size_t heap_bytes, Log* log)
    : log_(log), heap_(heap_bytes, 'x') {
  threads_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

Workshop::~Workshop() {
  closing_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void Workshop::Work() {
  for (size_t turn = 0; !closing_; ++turn) {
    const std::string piece(1 + turn % 10000, 'x');
    log_->Say(absl::StrCat("a piece of ", piece.size(), " bytes"));
  }
}

}  // namespace embedder

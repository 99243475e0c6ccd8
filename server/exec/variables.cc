// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/variables.h"

namespace brood::server {

void Variables::Add(absl::string_view name, const absl::AlphaNum& value) {
  begins_.push_back(text_.size());
  for (const absl::string_view part :
       {name, absl::string_view("="), value.Piece(),
        absl::string_view("\0", 1)}) {
    text_.insert(text_.end(), part.begin(), part.end());
  }
}

// Makes the pointers at the end, because `text_` may have moved.
char* const* Variables::Environment() {
  pointers_.clear();
  for (const std::string& variable : lasting_) {
    pointers_.push_back(const_cast<char*>(variable.c_str()));  // as C wants it
  }
  for (const size_t begin : begins_) pointers_.push_back(&text_[begin]);
  pointers_.push_back(nullptr);
  return pointers_.data();
}

}  // namespace brood::server

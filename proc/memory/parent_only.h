// SPDX-License-Identifier: Apache-2.0

// ParentOnly memory: the parent's books, which children do not get.
//
// Lives in the parent. Objects whose class derives from ParentOnly, and what an
// ParentOnlyVector holds, are in pages that a fork leaves out (MADV_DONTFORK).
// Two things follow:
//   - a child can't read who else is connected, nor can what it corrupts
//     confuse anyone: the addresses mean nothing in it, and a touch is a
//     SIGSEGV
//   - the parent writes to them after each fork without a page being copied
//     first, which is measurable: see docs/decisions/fork_cost.md
//
// Each allocation takes whole pages: for a few large or long-lived things, made
// before the first connection. Errors: std::bad_alloc, as operator new.
//
// Example:
//   class Scoreboard : public ParentOnly { ParentOnlyVector<Entry> entries_; };
//   auto scoreboard = std::make_unique<Scoreboard>();

#ifndef BROOD_PROC_MEMORY_PARENT_ONLY_H_
#define BROOD_PROC_MEMORY_PARENT_ONLY_H_

#include <cstddef>
#include <vector>

namespace brood::proc {

// Pages for `size` bytes, zeroed.
void* AllocateParentOnly(size_t size);
void FreeParentOnly(void* memory, size_t size);

class ParentOnly {
 public:
  static void* operator new(size_t size) { return AllocateParentOnly(size); }
  static void operator delete(void* memory, size_t size) {
    FreeParentOnly(memory, size);
  }
};

template <typename T>
struct ParentOnlyAllocator {
  using value_type = T;

  ParentOnlyAllocator() = default;
  template <typename U>
  ParentOnlyAllocator(const ParentOnlyAllocator<U>& /*other*/) {}

  T* allocate(size_t count) {
    return static_cast<T*>(AllocateParentOnly(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t count) {
    FreeParentOnly(memory, count * sizeof(T));
  }

  friend bool operator==(ParentOnlyAllocator, ParentOnlyAllocator) {
    return true;
  }
  friend bool operator!=(ParentOnlyAllocator, ParentOnlyAllocator) {
    return false;
  }
};

template <typename T>
using ParentOnlyVector = std::vector<T, ParentOnlyAllocator<T>>;

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_PARENT_ONLY_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_MEMORY_PARENT_ONLY_H_
#define BROOD_PROC_MEMORY_PARENT_ONLY_H_

#include <cstddef>
#include <vector>

namespace brood::proc {

// Returns zeroed pages for `size` bytes that fork does not copy to children.
void* AllocateParentOnly(size_t size);
// Frees the pages that AllocateParentOnly(size) returned.
void FreeParentOnly(void* memory, size_t size);

// ParentOnly is the base class of objects in parent-only memory: pages that
// fork does not copy to children (MADV_DONTFORK).
//
// Lives in the parent. A child cannot read which other clients are connected,
// because an access to these addresses is a SIGSEGV there. And the parent
// writes to these pages after each fork without a page fault that copies the
// page; see docs/decisions/fork_cost.md.
//
// Each allocation takes whole pages: for a few large or long-lived objects,
// created before the first connection. Errors: std::bad_alloc, as operator new.
//
// Example:
//   class Scoreboard : public ParentOnly { ParentOnlyVector<Entry> entries_; };
//   auto scoreboard = std::make_unique<Scoreboard>();
class ParentOnly {
 public:
  // Allocates an object in parent-only memory.
  static void* operator new(size_t size) { return AllocateParentOnly(size); }
  // Frees the memory of an object.
  static void operator delete(void* memory, size_t size) {
    FreeParentOnly(memory, size);
  }
};

// ParentOnlyAllocator is an allocator of the standard library that returns
// parent-only memory.
template <typename T>
struct ParentOnlyAllocator {
  using value_type = T;

  ParentOnlyAllocator() = default;
  // Makes an allocator from one of another type, as containers do. Allocators
  // have no state.
  template <typename U>
  ParentOnlyAllocator(const ParentOnlyAllocator<U>& /*other*/) {}

  // Returns memory for `count` elements.
  T* allocate(size_t count) {
    return static_cast<T*>(AllocateParentOnly(count * sizeof(T)));
  }
  // Frees the memory that allocate(count) returned.
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

// ParentOnlyVector is a vector whose elements are in parent-only memory.
template <typename T>
using ParentOnlyVector = std::vector<T, ParentOnlyAllocator<T>>;

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_PARENT_ONLY_H_

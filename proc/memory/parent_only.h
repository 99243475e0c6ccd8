// Unforked memory: the parent's books, which children do not get.
//
// Lives in the parent. Objects whose class derives from Unforked, and what an
// UnforkedVector holds, are in pages that a fork leaves out (MADV_DONTFORK).
// Two things follow:
//   - a child can't read who else is connected, nor can what it corrupts
//     confuse anyone: the addresses mean nothing in it, and a touch is a
//     SIGSEGV
//   - the parent writes to them after each fork without a page being copied
//     first, which is measurable: see server/DESIGN.md
//
// Each allocation takes whole pages: for a few large or long-lived things, made
// before the first connection. Errors: std::bad_alloc, as operator new.
//
// Example:
//   class Scoreboard : public Unforked { UnforkedVector<Entry> entries_; };
//   auto scoreboard = std::make_unique<Scoreboard>();

#ifndef BROOD_PROC_MEMORY_PARENT_ONLY_H_
#define BROOD_PROC_MEMORY_PARENT_ONLY_H_

#include <cstddef>
#include <vector>

namespace brood::proc {

// Pages for `size` bytes, zeroed.
void* AllocateUnforked(size_t size);
void FreeUnforked(void* memory, size_t size);

class Unforked {
 public:
  static void* operator new(size_t size) { return AllocateUnforked(size); }
  static void operator delete(void* memory, size_t size) {
    FreeUnforked(memory, size);
  }
};

template <typename T>
struct UnforkedAllocator {
  using value_type = T;

  UnforkedAllocator() = default;
  template <typename U>
  UnforkedAllocator(const UnforkedAllocator<U>& /*other*/) {}

  T* allocate(size_t count) {
    return static_cast<T*>(AllocateUnforked(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t count) {
    FreeUnforked(memory, count * sizeof(T));
  }

  friend bool operator==(UnforkedAllocator, UnforkedAllocator) { return true; }
  friend bool operator!=(UnforkedAllocator, UnforkedAllocator) { return false; }
};

template <typename T>
using UnforkedVector = std::vector<T, UnforkedAllocator<T>>;

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_PARENT_ONLY_H_

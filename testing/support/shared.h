// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_SHARED_H_
#define BROOD_TESTING_SUPPORT_SHARED_H_

#include <sys/mman.h>

#include <new>
#include <type_traits>

namespace brood::testing {

// Shared<T> is a T that the test process, the server process and its children
// read and write together.
//
// Create it in the test process, before the server. The memory is a shared
// mapping, so T must not contain pointers, and must be atomic (or a std::array
// of atomics) if two processes write. A resource: neither copied nor moved.
//
// Example:
//   Shared<std::atomic<int>> handled;
//   setup.handler = [&](net::Connection&) {
//     ++*handled;
//     return server::ExitCode::kServed;
//   };
template <typename T>
class Shared {
 public:
  static_assert(std::is_trivially_destructible_v<T>);

  // Maps a T that is initialized by its default.
  Shared() {
    void* memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    value_ = new (memory) T{};
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  // Unmaps the T in this process.
  ~Shared() { munmap(value_, sizeof(T)); }

  // Lends the T.
  T& operator*() const { return *value_; }
  // Lends the T.
  T* operator->() const { return value_; }

 private:
  T* value_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SHARED_H_

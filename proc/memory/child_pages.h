// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_MEMORY_CHILD_PAGES_H_
#define BROOD_PROC_MEMORY_CHILD_PAGES_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace brood::proc {

// ChildPages is memory in which each child writes to its own page, and which
// the parent reads.
//
// The pages are one shared mapping of the parent. A child starts with all of
// them, and unmaps the others by KeepOnly(): afterwards an access to another
// page is a SIGSEGV. The kernel allocates a page at the first write to it.
//
// Created in the parent, in ordinary memory, and destroyed there. Create() and
// the destructor are thread-safe; access to the pages is not.
//
// Errors: the errno of mmap or munmap.
//
// Example:
//   absl::StatusOr<std::unique_ptr<ChildPages>> pages = ChildPages::Create(16);
//   spawner->Spawn([&] {
//     void* page = (*pages)->page(3);
//     if (!ChildPages::KeepOnly(page).ok()) return 111;
//     *static_cast<int*>(page) = 42;
//     return 0;
//   });
class ChildPages {
 public:
  // Maps `count` pages, which are zero.
  static absl::StatusOr<std::unique_ptr<ChildPages>> Create(size_t count);
  ChildPages(const ChildPages&) = delete;
  ChildPages& operator=(const ChildPages&) = delete;
  // Unmaps all pages in this process. Children keep theirs.
  ~ChildPages();

  // Returns the address of the page with the number `index`, below the count.
  void* page(size_t index) const;
  // Returns the size of a page in bytes: 4096 on most machines.
  size_t page_bytes() const { return page_bytes_; }

  // Unmaps every page of every ChildPages of this process except `page`, which
  // may be null, and forgets the objects. Then makes the kernel refuse to map
  // more pages around `page`, where it can (mseal, Linux 6.10). Called in a
  // child that has one thread.
  static absl::Status KeepOnly(void* page);

 private:
  // Takes ownership of the mapping of `bytes` bytes at `begin`, and adds this
  // object to those that KeepOnly() unmaps.
  ChildPages(char* begin, size_t bytes, size_t page_bytes);

  char* const begin_;
  const size_t bytes_;
  const size_t page_bytes_;
  // The next ChildPages of this process.
  ChildPages* next_ = nullptr;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_CHILD_PAGES_H_

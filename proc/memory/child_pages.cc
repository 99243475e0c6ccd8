// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/child_pages.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

namespace brood::proc {
namespace {

// The number of mseal on every architecture; the headers of the C library may
// be older than the kernel.
constexpr long kMseal = 462;

std::mutex mutex;
ChildPages* first = nullptr;

// Unmaps [begin, end), which may be empty.
absl::Status Unmap(char* begin, char* end) {
  if (begin == end || munmap(begin, static_cast<size_t>(end - begin)) == 0) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, "munmap");
}

}  // namespace

// Without a reservation, so that a page to which no child writes costs nothing.
absl::StatusOr<std::unique_ptr<ChildPages>> ChildPages::Create(size_t count) {
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t bytes = count * page_bytes;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  return std::unique_ptr<ChildPages>(
      new ChildPages(static_cast<char*>(memory), bytes, page_bytes));
}

ChildPages::ChildPages(char* begin, size_t bytes, size_t page_bytes)
    : begin_(begin), bytes_(bytes), page_bytes_(page_bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  next_ = first;
  first = this;
}

ChildPages::~ChildPages() {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    ChildPages** place = &first;
    while (*place != nullptr && *place != this) place = &(*place)->next_;
    if (*place == this) *place = next_;
  }
  munmap(begin_, bytes_);
}

void* ChildPages::page(size_t index) const {
  return begin_ + index * page_bytes_;
}

// Takes no lock: only a process with a single thread creates children, so the
// lock was free when this process was forked.
absl::Status ChildPages::KeepOnly(void* page) {
  char* const kept = static_cast<char*>(page);
  for (const ChildPages* pages = first; pages != nullptr;
       pages = pages->next_) {
    char* const end = pages->begin_ + pages->bytes_;
    const bool has_it = pages->begin_ <= kept && kept < end;
    char* const hole = has_it ? kept : end;
    absl::Status unmapped = Unmap(pages->begin_, hole);
    if (!unmapped.ok()) return unmapped;
    if (!has_it) continue;
    unmapped = Unmap(kept + pages->page_bytes_, end);
    if (!unmapped.ok()) return unmapped;
    // Without this, mremap() could extend the mapping to the pages of other
    // children. An older kernel does not have the call.
    syscall(kMseal, kept, pages->page_bytes_, 0UL);
  }
  // Written to only if necessary, because the write would cost each child a
  // page fault.
  if (first != nullptr) first = nullptr;
  return absl::OkStatus();
}

}  // namespace brood::proc

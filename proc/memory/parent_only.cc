// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/parent_only.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace brood::proc {
namespace {

size_t WholePages(size_t size) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

}  // namespace

void* AllocateParentOnly(size_t size) {
  const size_t length = WholePages(size);
  void* memory = mmap(nullptr, length, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A system may not support the exclusion of pages from a fork (an emulator,
  // for example); the pages are then copied like others. A shortage is an
  // error, because children could read the pages.
  if (madvise(memory, length, MADV_DONTFORK) < 0 && errno != EINVAL) {
    munmap(memory, length);
    throw std::bad_alloc();
  }
  return memory;
}

void FreeParentOnly(void* memory, size_t size) {
  munmap(memory, WholePages(size));
}

}  // namespace brood::proc

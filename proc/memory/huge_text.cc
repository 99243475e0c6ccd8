// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/huge_text.h"

#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/base/config.h"
#include "absl/cleanup/cleanup.h"

// Of Linux 6.1; the headers of some C libraries in use do not have it.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace brood::proc {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Layout is where this program is in memory: the segment with its code, the
// index of the tables for exceptions, and the next segment.
struct Layout {
  uintptr_t text_begin = 0;
  uintptr_t text_end = 0;
  uintptr_t tables_begin = 0;
  uintptr_t next_begin = UINTPTR_MAX;
};

// Stores the layout of the main program, for which dl_iterate_phdr calls it
// first. The nonzero result ends the iteration.
int ReadLayout(dl_phdr_info* program, size_t /*size*/, void* out) {
  auto* layout = static_cast<Layout*>(out);
  for (int i = 0; i < program->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = program->dlpi_phdr[i];
    const uintptr_t begin = program->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_GNU_EH_FRAME) layout->tables_begin = begin;
    if (segment.p_type != PT_LOAD) continue;
    if ((segment.p_flags & PF_X) != 0) {
      layout->text_begin = begin;
      layout->text_end = begin + segment.p_memsz;
    } else if (layout->text_end != 0 && begin < layout->next_begin) {
      layout->next_begin = begin;  // segments are sorted by address
    }
  }
  return 1;
}

uintptr_t RoundUp(uintptr_t address) {
  return (address + kHugePage - 1) / kHugePage * kHugePage;
}

// Returns the end of what children use: the linker puts the tables for
// exceptions after code and data. They are often all that is in the last huge
// page, of which fork would make an entry nevertheless.
uintptr_t EndOfUse(const Layout& layout) {
  const auto code = reinterpret_cast<uintptr_t>(&MoveTextToHugePages);
  return code < layout.tables_begin && layout.tables_begin < layout.text_end
             ? layout.tables_begin
             : layout.text_end;
}

}  // namespace

absl::Status MoveTextToHugePages() {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  return absl::UnimplementedError(
      "huge text: a sanitizer reports the copying of code as an error");
#endif
  Layout layout;
  dl_iterate_phdr(ReadLayout, &layout);
  const uintptr_t begin = layout.text_begin;
  const size_t size = RoundUp(EndOfUse(layout)) - begin;
  if (begin == 0 || begin % kHugePage != 0 ||
      begin + size > layout.next_begin) {
    return absl::FailedPreconditionError(
        "huge text: the code of this program shares its huge pages with other "
        "segments; link it with -z noseparate-code -z max-page-size=0x200000");
  }

  // Copies the code to memory that is certainly a huge page.
  const size_t room = size + kHugePage;
  void* memory = mmap(nullptr, room, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  // Unmaps the rest: after the move below, the range of the copy is a hole.
  absl::Cleanup unmap = [memory, room] { munmap(memory, room); };
  void* copy =
      reinterpret_cast<void*>(RoundUp(reinterpret_cast<uintptr_t>(memory)));
  if (madvise(copy, size, MADV_HUGEPAGE) < 0) {
    return absl::ErrnoToStatus(errno, "madvise MADV_HUGEPAGE");
  }
  std::memcpy(copy, reinterpret_cast<void*>(begin),
              std::min(size, layout.text_end - layout.text_begin));
  // Small pages would be worse than the file mapping: a fork would copy an
  // entry for each.
  if (madvise(copy, size, MADV_COLLAPSE) < 0) {
    return absl::ErrnoToStatus(errno, "madvise MADV_COLLAPSE");
  }
  if (mprotect(copy, size, PROT_READ | PROT_EXEC) < 0) {
    return absl::ErrnoToStatus(errno, "mprotect");
  }
  // The kernel replaces the mapping in one call: the call returns to the same
  // instruction, in another page.
  if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
             reinterpret_cast<void*>(begin)) == MAP_FAILED) {
    return absl::ErrnoToStatus(errno, "mremap");
  }
  return absl::OkStatus();
}

}  // namespace brood::proc

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/data_mapping.h"

#include <link.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/base/config.h"
#include "absl/cleanup/cleanup.h"

namespace brood::proc {
namespace {

constexpr size_t kMostBytes = size_t{2} << 20;

// Layout is where the variables of this program are: its last segment, without
// the part of it that is read-only since the program was relocated.
struct Layout {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// Stores the layout of the main program, for which dl_iterate_phdr calls it
// first. The nonzero result ends the iteration.
int ReadLayout(dl_phdr_info* program, size_t /*size*/, void* out) {
  auto* layout = static_cast<Layout*>(out);
  uintptr_t read_only_end = 0;
  for (int i = 0; i < program->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = program->dlpi_phdr[i];
    const uintptr_t begin = program->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_GNU_RELRO) {
      read_only_end = begin + segment.p_memsz;
    } else if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) != 0) {
      *layout = {begin, begin + segment.p_memsz};
    }
  }
  if (read_only_end <= layout->end) {
    layout->begin = std::max(layout->begin, read_only_end);
  }
  return 1;
}

// Copies the pages from `begin` to `end` to the empty pages at `copy`. Does not
// touch the copy of an empty page: a fork would copy an entry for it.
void CopyUsedPages(const char* begin, const char* end, size_t page,
                   char* copy) {
  for (; begin != end; begin += page, copy += page) {
    const bool is_empty =
        std::all_of(begin, begin + page, [](char byte) { return byte == 0; });
    if (!is_empty) std::memcpy(copy, begin, page);
  }
}

}  // namespace

absl::Status JoinDataMappings() {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  return absl::UnimplementedError(
      "data mapping: a sanitizer reports the copying of variables as an error");
#endif
  if (!__libc_single_threaded) {
    return absl::FailedPreconditionError(
        "data mapping: a thread could write to variables that are copied");
  }
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  Layout layout;
  dl_iterate_phdr(ReadLayout, &layout);
  auto* const begin = reinterpret_cast<char*>(layout.begin / page * page);
  auto* const end =
      reinterpret_cast<char*>((layout.end + page - 1) / page * page);
  const auto size = static_cast<size_t>(end - begin);
  if (size > kMostBytes) return absl::OkStatus();

  void* const copy = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  // After the move below, the range of the copy is a hole.
  absl::Cleanup unmap = [copy, size] { munmap(copy, size); };
  // What is written to a variable after its page was copied is lost. From here
  // to the move, the handler of a signal could do that.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  CopyUsedPages(begin, end, page, static_cast<char*>(copy));
  const void* const moved =
      mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, begin);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return moved != MAP_FAILED ? absl::OkStatus()
                             : absl::ErrnoToStatus(error, "mremap");
}

}  // namespace brood::proc

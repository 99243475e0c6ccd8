// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/close_range.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace brood::proc {
namespace {

// The largest number of descriptors that are closed one by one: for these, that
// takes less time than opening a directory.
constexpr unsigned kFew = 32;

// The head of an entry as getdents64 writes it; the name follows.
struct EntryHead {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  unsigned char type;
};
constexpr size_t kNameOffset = 19;

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)  // Linux 5.11
#endif

void CloseEach(unsigned first, unsigned last) {
  for (unsigned fd = first; fd <= last; ++fd) close(static_cast<int>(fd));
}

// Returns the number that `name` is; -1 for "." and "..".
int NumberOf(const char* name) {
  int number = 0;
  for (; *name != '\0'; ++name) {
    if (*name < '0' || *name > '9') return -1;
    number = 10 * number + (*name - '0');
  }
  return number;
}

// Opens the list of the descriptors of this process. If no descriptor is free
// for it, closes one of the descriptors that must be closed.
int OpenList(unsigned first, unsigned last) {
  for (;;) {
    const int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (list >= 0 || errno != EMFILE) return list;
    // All numbers below the limit are in use, so an open one is found soon.
    while (first <= last && close(static_cast<int>(first)) < 0) ++first;
    if (first > last) return -1;
  }
}

// Calls `act` for each descriptor that /proc/self/fd lists, and closes `list`,
// the descriptor of that list. Returns false if the list cannot be read. Uses
// the system call, because readdir() allocates. The kernel lists in the order
// of the numbers, so that closing a descriptor in between makes it skip none.
template <typename Act>
bool ForEachListed(int list, unsigned first, unsigned last, Act act) {
  if (list < 0) return false;
  alignas(EntryHead) char entries[1024];
  long size;
  while ((size = syscall(SYS_getdents64, list, entries, sizeof(entries))) > 0) {
    for (long at = 0; at < size;) {
      EntryHead head;
      std::memcpy(&head, entries + at, sizeof(head));
      const int fd = NumberOf(entries + at + kNameOffset);
      at += head.length;
      if (fd < 0 || fd == list) continue;
      if (first <= static_cast<unsigned>(fd) &&
          static_cast<unsigned>(fd) <= last) {
        act(fd);
      }
    }
  }
  close(list);
  return size == 0;
}

}  // namespace

void CloseRange(unsigned first, unsigned last) {
  if (first > last) return;
  if (syscall(SYS_close_range, first, last, 0) == 0) return;
  if (last - first < kFew) {
    CloseEach(first, last);
    return;
  }
  if (ForEachListed(OpenList(first, last), first, last,
                    [](int fd) { close(fd); })) {
    return;
  }
  const long limit = sysconf(_SC_OPEN_MAX);
  if (limit > 0) last = std::min(last, static_cast<unsigned>(limit - 1));
  CloseEach(first, last);
}

void CloseRangeOnExec(unsigned first) {
  if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  const auto mark = [](int fd) { fcntl(fd, F_SETFD, FD_CLOEXEC); };
  const int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (ForEachListed(list, first, ~0U, mark)) return;
  const long limit = sysconf(_SC_OPEN_MAX);
  for (long fd = first; fd < limit; ++fd) mark(static_cast<int>(fd));
}

}  // namespace brood::proc

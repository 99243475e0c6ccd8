#include "brood/proc/close_range.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace brood::proc {

void CloseRange(unsigned first, unsigned last) {
  if (syscall(SYS_close_range, first, last, 0) == 0) return;
  if (last == ~0U) last = static_cast<unsigned>(sysconf(_SC_OPEN_MAX));
  for (unsigned fd = first; fd <= last; ++fd) close(static_cast<int>(fd));
}

}  // namespace brood::proc

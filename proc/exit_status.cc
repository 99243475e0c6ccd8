// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/exit_status.h"

#include <cstdio>
#include <cstring>

namespace brood::proc {

std::string ExitStatus::ToString() const {
  char text[128];
  return Print(text, sizeof(text));
}

const char* ExitStatus::Print(char* text, size_t size) const {
  if (exited()) {
    std::snprintf(text, size, "exited with code %d", code());
    return text;
  }
  if (!killed()) {
    std::snprintf(text, size, "%s",
                  held()       ? "is dead, and a tracer holds its status"
                  : given_up() ? "cannot be killed, given up"
                               : "ended with unknown status");
    return text;
  }
  const char* core = core_dumped() ? ", core dumped" : "";
  const char* name = sigabbrev_np(signal());
  if (name != nullptr) {
    std::snprintf(text, size, "killed by SIG%s (%s)%s", name,
                  sigdescr_np(signal()), core);
  } else {
    std::snprintf(text, size, "killed by signal %d%s", signal(), core);
  }
  return text;
}

}  // namespace brood::proc

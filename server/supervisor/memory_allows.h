// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_MEMORY_ALLOWS_H_
#define BROOD_SERVER_SUPERVISOR_MEMORY_ALLOWS_H_

#include <new>

namespace brood::server {

// Calls `step`. Returns false if memory ran out in it, so that the rest of the
// step was not done. Every other exception passes through.
//
// Example:
//   if (!MemoryAllows([&] { report.text = text; })) report.text.clear();
template <typename Step>
bool MemoryAllows(Step&& step) {
  try {
    step();
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_MEMORY_ALLOWS_H_

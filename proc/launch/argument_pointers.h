// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_LAUNCH_ARGUMENT_POINTERS_H_
#define BROOD_PROC_LAUNCH_ARGUMENT_POINTERS_H_

#include <string>
#include <vector>

namespace brood::proc {

// Returns `strings` in the form of argv and environ, for execve(2): a pointer
// to each, and a null pointer. Valid as long as `strings` is not changed.
//
// Process: any. No errors.
//
// Example:
//   execve(path, ArgumentPointers(arguments).data(), environ);
inline std::vector<char*> ArgumentPointers(
    const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& string : strings) {
    pointers.push_back(const_cast<char*>(string.c_str()));  // as C wants it
  }
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace brood::proc

#endif  // BROOD_PROC_LAUNCH_ARGUMENT_POINTERS_H_

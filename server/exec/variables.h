// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_EXEC_VARIABLES_H_
#define BROOD_SERVER_EXEC_VARIABLES_H_

#include <cstddef>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace brood::server {

// Variables is the environment of one program, in the form of execve(2).
//
// Process: child. Borrows the variables that are the same for each program, and
// owns those that are added. Allocates nothing for a usual connection: in a
// process that was just forked, the kernel copies each page that an allocation
// changes, which takes some microseconds. No errors.
//
// Example:
//   Variables variables(lasting);
//   variables.Add("TCPREMOTEPORT", 40112);
//   execve(path, arguments, variables.Environment());
class Variables {
 public:
  // Begins with `lasting`, each "NAME=VALUE", which must outlive this object.
  explicit Variables(absl::Span<const std::string> lasting)
      : lasting_(lasting) {}

  // Adds the variable `name` with the value `value`.
  void Add(absl::string_view name, const absl::AlphaNum& value);

  // Returns the variables, and a null pointer after them. Valid until the next
  // Add().
  char* const* Environment();

 private:
  const absl::Span<const std::string> lasting_;
  // The added variables, each with a NUL at its end, and where each begins.
  absl::InlinedVector<char, 1024> text_;
  absl::InlinedVector<size_t, 16> begins_;
  absl::InlinedVector<char*, 64> pointers_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_EXEC_VARIABLES_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_MUST_NOT_THROW_H_
#define BROOD_SERVER_LOG_MUST_NOT_THROW_H_

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace brood::server {

// Calls `function`, which belongs to the embedder and must not throw. If it
// throws, writes one line to standard error and ends the program by
// std::terminate():
//
//   brood: Options::on_connection_end threw an exception: no space left
//
// `name` is the name of the function as the embedder spells it. Called in the
// parent, whose loop an exception would leave in the middle of a step.
void CallMustNotThrow(absl::string_view name,
                      absl::FunctionRef<void()> function) noexcept;

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_MUST_NOT_THROW_H_

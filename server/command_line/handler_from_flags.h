// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_COMMAND_LINE_HANDLER_FROM_FLAGS_H_
#define BROOD_SERVER_COMMAND_LINE_HANDLER_FROM_FLAGS_H_

#include "absl/status/statusor.h"
#include "brood/server/command_line/flag_reader.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"

namespace brood::server {

// Returns the handler that the command line asks for: one that executes the
// program behind "--", or the echo handler. Sets the process group in `options`
// that the program needs, unless --children is given.
//
// Runs in the parent, before the signals of the process are changed.
//
// Returns InvalidArgument, naming the flag, for a value that is not allowed,
// for a flag of programs without a program, and for options with which no
// program can run; NotFound or PermissionDenied, naming the program, if it
// cannot be executed.
absl::StatusOr<Handler> HandlerFromFlags(const GivenFlags& given,
                                         Options* options);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_HANDLER_FROM_FLAGS_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_COMMAND_LINE_MACHINE_LIMITS_H_
#define BROOD_SERVER_COMMAND_LINE_MACHINE_LIMITS_H_

#include <string>
#include <vector>

#include "brood/server/options.h"

namespace brood::server {

// Returns a sentence for each limit of this process that is too low for
// `options`, for --check_config: the server would start nevertheless. Changes
// nothing; a limit that cannot be read is left out.
std::vector<std::string> LimitsTooLowFor(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_MACHINE_LIMITS_H_

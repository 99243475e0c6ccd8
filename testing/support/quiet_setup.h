// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_QUIET_SETUP_H_
#define BROOD_TESTING_SUPPORT_QUIET_SETUP_H_

#include "brood/server/options.h"
#include "brood/testing/test_server.h"

namespace brood::testing {

// Returns the default setup of a test server, which logs nothing below `level`.
// For tests that read no log lines, or that serve so many clients that the pipe
// of the log would be full.
//
// Example:
//   TestServer::Setup setup = QuietSetup();
inline TestServer::Setup QuietSetup(
    server::LogLevel level = server::LogLevel::kWarning) {
  TestServer::Setup setup;
  setup.options.log.level = level;
  return setup;
}

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_QUIET_SETUP_H_

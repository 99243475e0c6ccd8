// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/zygote_log.h"

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace brood::testing {

// The line: "brood[1] info: zygote is pid 2".
absl::StatusOr<pid_t> AwaitZygote(TestServer& server, absl::Duration timeout) {
  constexpr absl::string_view kBefore = "zygote is pid ";
  const absl::StatusOr<std::string> line =
      server.AwaitLogLine(kBefore, timeout);
  if (!line.ok()) return line.status();
  const size_t number = line->find(std::string(kBefore)) + kBefore.size();
  pid_t pid = 0;
  if (!absl::SimpleAtoi(line->substr(number), &pid) || pid <= 0) {
    return absl::InvalidArgumentError(*line);
  }
  return pid;
}

}  // namespace brood::testing

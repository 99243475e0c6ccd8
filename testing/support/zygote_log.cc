// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/zygote_log.h"

#include "brood/testing/logged_event.h"

namespace brood::testing {

absl::StatusOr<pid_t> AwaitZygote(TestServer& server, absl::Duration timeout) {
  const absl::StatusOr<LoggedEvent> ready =
      server.AwaitEvent("zygote-ready", timeout);
  if (!ready.ok()) return ready.status();
  return static_cast<pid_t>(ready->Number("brood.child.pid"));
}

}  // namespace brood::testing

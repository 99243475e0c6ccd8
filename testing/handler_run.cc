// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/handler_run.h"

#include <utility>

#include "brood/net/connection.h"
#include "gtest/gtest.h"

namespace brood::testing {

HandlerRun::HandlerRun(server::Handler handler, absl::Duration timeout)
    : HandlerRun(ConnectionPair::Create().value(), std::move(handler),
                 timeout) {}

HandlerRun::HandlerRun(ConnectionPair pair, server::Handler handler,
                       absl::Duration timeout)
    : timeout_(timeout),
      code_(std::async(std::launch::async,
                       [given = std::move(pair.connection),
                        handler = std::move(handler)]() mutable {
                         // Closed when the handler returns, not with code_.
                         net::Connection connection = std::move(given);
                         return handler(connection);
                       })
                .share()),
      client_(TestClient::Adopt(std::move(pair.client), timeout)) {}

server::ExitCode HandlerRun::code() {
  if (code_.wait_for(absl::ToChronoMilliseconds(timeout_)) !=
      std::future_status::ready) {
    ADD_FAILURE() << "the handler did not end within " << timeout_;
    client_.Reset();
  }
  return code_.get();
}

}  // namespace brood::testing

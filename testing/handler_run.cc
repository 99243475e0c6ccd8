// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/handler_run.h"

#include <utility>

#include "brood/net/connection.h"
#include "gtest/gtest.h"

namespace brood::testing {

HandlerRun::HandlerRun(server::Handler handler, absl::Duration patience)
    : HandlerRun(ConnectionPair::Create().value(), std::move(handler),
                 patience) {}

HandlerRun::HandlerRun(ConnectionPair pair, server::Handler handler,
                       absl::Duration patience)
    : patience_(patience),
      code_(std::async(std::launch::async,
                       [given = std::move(pair.connection),
                        handler = std::move(handler)]() mutable {
                         // Closed at the end of the run, not of the future.
                         net::Connection connection = std::move(given);
                         return handler(connection);
                       })
                .share()),
      client_(TestClient::Adopt(std::move(pair.client), patience)) {}

server::ExitCode HandlerRun::code() {
  if (code_.wait_for(absl::ToChronoMilliseconds(patience_)) !=
      std::future_status::ready) {
    ADD_FAILURE() << "the handler did not end within " << patience_;
    client_.Reset();
  }
  return code_.get();
}

}  // namespace brood::testing

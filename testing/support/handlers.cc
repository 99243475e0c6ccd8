// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/handlers.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "brood/net/io.h"

namespace brood::testing {

using server::ExitCode;

ExitCode Reply(net::Connection& connection, absl::string_view text) {
  return net::WriteFull(connection.socket(), text).ok() ? ExitCode::kServed
                                                        : ExitCode::kPeerLost;
}

ExitCode ReplyWithPid(net::Connection& connection) {
  return Reply(connection, absl::StrCat(getpid()));
}

std::string PidText() { return absl::StrFormat("%010d", getpid()); }

ExitCode AnswerWithPid(net::Connection& connection) {
  char question[8];
  while (net::ReadFull(connection.socket(), absl::MakeSpan(question)).ok()) {
    const std::string answer =
        absl::StrCat(absl::string_view(question, sizeof(question)), PidText());
    if (!net::WriteFull(connection.socket(), answer).ok()) {
      return ExitCode::kPeerLost;
    }
  }
  return ExitCode::kServed;
}

}  // namespace brood::testing

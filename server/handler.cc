// SPDX-License-Identifier: Apache-2.0

#include "brood/server/handler.h"

#include "brood/server/report/handler_report.h"

namespace brood::server {

absl::string_view Meaning(ExitCode code) {
  switch (code) {
    case ExitCode::kServed:
      return "served";
    case ExitCode::kHandlerFailed:
      return "handler failed";
    case ExitCode::kPeerLost:
      return "peer lost";
    case ExitCode::kDeadlineExceeded:
      return "deadline exceeded";
    case ExitCode::kProtocolError:
      return "protocol error";
    case ExitCode::kUsage:
      return "called wrong";
    case ExitCode::kBug:
      return "bug";
    case ExitCode::kSystemRefused:
      return "system refused";
  }
  return "";
}

// The connection is not needed: a process serves one connection at a time.
void Annotate(const net::Connection& /*connection*/, absl::string_view text) {
  report_writer::SetAnnotation(text);
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_JSON_FORMAT_H_
#define BROOD_SERVER_LOG_JSON_FORMAT_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/server/log/event.h"

namespace brood::server {

// The length of the longest JSON line, with its newline: PIPE_BUF, so that a
// pipe takes it whole or not at all.
inline constexpr size_t kMaxJsonLine = 4096;

// Writes `event` as a JSON object on one line into `memory`, which has
// kMaxJsonLine bytes, and returns the line, which ends in a newline:
//
//   {"@timestamp":"2026-11-29T21:00:00.123456Z","log.level":"info",
//    "message":"listening on [::1]:7000","event.action":"listening",
//    "service.name":"brood","service.version":"0.1.0","process.pid":4711,
//    "server.address":"::1","server.port":7000,"network.transport":"tcp",
//    "brood.listener":"[::1]:7000"}
//
// Keys are flat and dotted; integers and durations (nanoseconds) are numbers,
// and the rest are strings. Control characters and quotes are escaped, and each
// byte that is not UTF-8 becomes U+FFFD. Texts that are too long lose their
// end, so the line is always a whole object.
absl::string_view FormatJson(const Event& event, const LineOrigin& origin,
                             absl::Span<char> memory);

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_JSON_FORMAT_H_

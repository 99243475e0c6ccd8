// SPDX-License-Identifier: Apache-2.0

#include "dictionary/line_reader.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "brood/net/io.h"

namespace embedder {

absl::StatusOr<absl::optional<std::string>> LineReader::Next(
    brood::net::Instant deadline) {
  size_t end;
  while ((end = unread_.find('\n')) == std::string::npos) {
    if (unread_.size() > kLongest) break;
    char bytes[256];
    const absl::StatusOr<size_t> got =
        brood::net::ReadSome(socket_, absl::MakeSpan(bytes), deadline);
    if (!got.ok()) return got.status();
    if (*got == 0) return absl::optional<std::string>();
    unread_.append(bytes, *got);
  }
  if (end > kLongest) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a line of more than ", kLongest, " bytes"));
  }
  std::string line = unread_.substr(0, end);
  unread_.erase(0, end + 1);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return absl::make_optional(std::move(line));
}

}  // namespace embedder

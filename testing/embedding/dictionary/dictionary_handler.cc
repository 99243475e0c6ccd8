// SPDX-License-Identifier: Apache-2.0

#include "dictionary/dictionary_handler.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "dictionary/line_reader.h"

namespace embedder {
namespace {

using brood::server::ExitCode;

constexpr absl::string_view kQuit = "QUIT";

ExitCode Sort(const absl::Status& failure) {
  switch (failure.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kDeadlineExceeded;
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kProtocolError;
    default:
      return ExitCode::kPeerLost;
  }
}

}  // namespace

DictionaryHandler::DictionaryHandler(std::shared_ptr<const Table> table,
                                     absl::Duration timeout)
    : table_(std::move(table)), timeout_(timeout) {}

ExitCode DictionaryHandler::operator()(brood::net::Connection& connection) {
  LineReader reader(connection.socket());
  for (;;) {
    const brood::net::Instant deadline =
        brood::net::After(brood::net::Now(), timeout_);
    const auto line = reader.Next(deadline);
    if (!line.ok()) return Sort(line.status());
    if (!line->has_value()) return ExitCode::kServed;
    const absl::Status written =
        brood::net::WriteFull(connection.socket(), Answer(**line), deadline);
    if (!written.ok()) return Sort(written);
    if (**line == kQuit) return ExitCode::kServed;
  }
}

std::string DictionaryHandler::Answer(absl::string_view request) {
  if (absl::ConsumePrefix(&request, "DEFINE ")) {
    const absl::optional<absl::string_view> meaning = table_->Find(request);
    if (!meaning.has_value()) return absl::StrCat("? ", request, "\n");
    ++sent_;
    return absl::StrCat("= ", *meaning, "\n");
  }
  if (request == "LIST") {
    std::string words;
    for (const auto& entry : table_->meanings()) {
      absl::StrAppend(&words, entry.first, "\n");
    }
    return words + ".\n";
  }
  if (request == kQuit) return absl::StrCat("bye ", sent_, "\n");
  return "! DEFINE word, LIST or QUIT\n";
}

}  // namespace embedder

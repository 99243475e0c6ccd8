// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/internal/log_lines.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace brood::testing {
namespace {

// The size of the pipe: room for the log of a test that does not read it for a
// while. For a user with a lower limit the pipe keeps its default size.
constexpr int kPipeSize = 1 << 20;

// Returns whether a line is no event and contains `text`, which must outlive
// the result.
auto PlainLineWith(absl::string_view text) {
  return [text](absl::string_view line) {
    return absl::StrContains(line, text) && !LoggedEvent::IsLineOf("", line);
  };
}

// Describes an event for an error.
std::string Describe(absl::string_view name,
                     const LoggedEvent::Fields& fields) {
  std::string text = absl::StrCat("event \"", name, "\"");
  for (const auto& [key, value] : fields) {
    absl::StrAppend(&text, " with ", key, "=");
    std::visit([&](const auto& it) { absl::StrAppend(&text, it); }, value);
  }
  return text;
}

// Returns the error `why` of the line `index` of `count`.
absl::Status ErrorOf(int index, int count, const absl::Status& why) {
  return absl::Status(why.code(), absl::StrCat("line ", index + 1, " of ",
                                               count, ": ", why.message()));
}

}  // namespace

absl::StatusOr<LogLines> LogLines::Create(net::Socket* writing_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return absl::ErrnoToStatus(errno, "pipe2");
  net::Socket reading_end = net::Socket::Adopt(ends[0]);
  *writing_end = net::Socket::Adopt(ends[1]);
  fcntl(ends[0], F_SETPIPE_SZ, kPipeSize);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return LogLines(std::move(reading_end));
}

absl::StatusOr<std::string> LogLines::Await(absl::string_view text,
                                            absl::Duration timeout) {
  size_t from = 0;
  return AwaitFrom(&from, PlainLineWith(text),
                   absl::StrCat("line with \"", text, "\""),
                   net::After(net::Now(), timeout));
}

absl::Status LogLines::AwaitAll(int count, absl::string_view text,
                                absl::Duration timeout) {
  const net::Instant deadline = net::After(net::Now(), timeout);
  size_t from = 0;
  for (int i = 0; i < count; ++i) {
    const absl::StatusOr<std::string> line =
        AwaitFrom(&from, PlainLineWith(text),
                  absl::StrCat("line with \"", text, "\""), deadline);
    if (!line.ok()) return ErrorOf(i, count, line.status());
  }
  return absl::OkStatus();
}

absl::optional<std::string> LogLines::TryTake(absl::string_view text) {
  size_t from = 0;
  return TryTakeFrom(&from, PlainLineWith(text));
}

absl::StatusOr<LoggedEvent> LogLines::AwaitEvent(absl::string_view name,
                                                 absl::Duration timeout) {
  return AwaitEvent(name, {}, timeout);
}

absl::StatusOr<LoggedEvent> LogLines::AwaitEvent(
    absl::string_view name, const LoggedEvent::Fields& fields,
    absl::Duration timeout) {
  size_t from = 0;
  return AwaitEventFrom(&from, name, fields, net::After(net::Now(), timeout));
}

absl::StatusOr<std::vector<LoggedEvent>> LogLines::AwaitEvents(
    int count, absl::string_view name, absl::Duration timeout) {
  const net::Instant deadline = net::After(net::Now(), timeout);
  size_t from = 0;
  std::vector<LoggedEvent> events;
  for (int i = 0; i < count; ++i) {
    absl::StatusOr<LoggedEvent> event =
        AwaitEventFrom(&from, name, {}, deadline);
    if (!event.ok()) return ErrorOf(i, count, event.status());
    events.push_back(*std::move(event));
  }
  return events;
}

absl::StatusOr<LoggedEvent> LogLines::AwaitEventFrom(
    size_t* from, absl::string_view name, const LoggedEvent::Fields& fields,
    net::Instant deadline) {
  const auto wanted = [&](absl::string_view line) {
    if (!LoggedEvent::IsLineOf(name, line)) return false;
    const absl::StatusOr<LoggedEvent> event = LoggedEvent::Parse(line);
    return !event.ok() || event->HasAll(fields);
  };
  const absl::StatusOr<std::string> line =
      AwaitFrom(from, wanted, Describe(name, fields), deadline);
  if (!line.ok()) return line.status();
  return LoggedEvent::Parse(*line);
}

absl::StatusOr<std::string> LogLines::AwaitFrom(size_t* from,
                                                const Wanted& wanted,
                                                absl::string_view what,
                                                net::Instant deadline) {
  for (;;) {
    if (absl::optional<std::string> line = TryTakeFrom(from, wanted)) {
      return *std::move(line);
    }
    if (!pipe_.valid()) {
      return absl::UnavailableError(
          absl::StrCat("the log has ended and has no ", what, ":\n", all_));
    }
    const timespec left =
        absl::ToTimespec(net::TimeUntil(deadline, net::Now()));
    pollfd more = {pipe_.fd(), POLLIN, 0};
    if (TEMP_FAILURE_RETRY(ppoll(&more, 1, &left, nullptr)) == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("the log has no ", what, " yet:\n", all_));
    }
  }
}

absl::optional<std::string> LogLines::TryTakeFrom(size_t* from,
                                                  const Wanted& wanted) {
  Read();
  const auto found =
      std::find_if(lines_.begin() + static_cast<std::ptrdiff_t>(*from),
                   lines_.end(), wanted);
  *from = static_cast<size_t>(found - lines_.begin());
  if (found == lines_.end()) return absl::nullopt;
  std::string line = std::move(*found);
  lines_.erase(found);
  return line;
}

const std::string& LogLines::All() {
  Read();
  return all_;
}

void LogLines::Read() {
  while (pipe_.valid()) {
    char piece[64 << 10];
    const ssize_t got =
        TEMP_FAILURE_RETRY(read(pipe_.fd(), piece, sizeof(piece)));
    if (got < 0) break;
    if (got == 0) pipe_.Close();
    all_.append(piece, static_cast<size_t>(got));
  }
  for (size_t end; (end = all_.find('\n', split_)) != std::string::npos;
       split_ = end + 1) {
    lines_.push_back(all_.substr(split_, end - split_));
  }
}

}  // namespace brood::testing

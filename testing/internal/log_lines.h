// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_INTERNAL_LOG_LINES_H_
#define BROOD_TESTING_INTERNAL_LOG_LINES_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/testing/logged_event.h"

namespace brood::testing {

// LogLines reads the log of a server process line by line, from a pipe.
//
// A test waits for an event by its name and its fields if the log has the
// format JSON, or for another line that contains a text. Each line is returned
// once, and lines that do not match stay for other calls. Lines are taken off
// the pipe by every call; the pipe has room for about two thousand events, and
// a server whose pipe is full drops lines.
//
// Lives in the test process. Owns the reading end. Not thread-safe.
//
// Errors: DeadlineExceeded, or Unavailable once every writer has closed the
// pipe; each quotes the whole log.
//
// Example:
//   absl::StatusOr<LogLines> lines = LogLines::Create(&writing_end);
//   ... a server process with `writing_end` as its standard error ...
//   EXPECT_THAT(lines->AwaitEvent("forked", absl::Seconds(10)), IsOk());
//   EXPECT_THAT(lines->Await("from a handler", absl::Seconds(10)), IsOk());
class LogLines {
 public:
  // Makes an empty log that has ended.
  LogLines() = default;
  // Returns the log that is written to a new pipe, and sets `*writing_end` to
  // its other end. Both ends are close-on-exec.
  static absl::StatusOr<LogLines> Create(net::Socket* writing_end);

  // Waits for a line that contains `text` and is not an event, and returns it.
  absl::StatusOr<std::string> Await(absl::string_view text,
                                    absl::Duration timeout);
  // Waits for `count` such lines.
  absl::Status AwaitAll(int count, absl::string_view text,
                        absl::Duration timeout);
  // Returns such a line if there is one; does not wait.
  absl::optional<std::string> TryTake(absl::string_view text);

  // Waits for a JSON line of an event called `name` and returns the event.
  // Returns InvalidArgument for a line that is damaged.
  absl::StatusOr<LoggedEvent> AwaitEvent(absl::string_view name,
                                         absl::Duration timeout);
  // Does the same for an event that also has each of `fields`.
  absl::StatusOr<LoggedEvent> AwaitEvent(absl::string_view name,
                                         const LoggedEvent::Fields& fields,
                                         absl::Duration timeout);
  // Waits for `count` such events and returns them in the order of the log.
  absl::StatusOr<std::vector<LoggedEvent>> AwaitEvents(int count,
                                                       absl::string_view name,
                                                       absl::Duration timeout);

  // Returns the whole log so far.
  const std::string& All();
  // Lends the reading end, which is readable when there is more; -1 once every
  // writer has closed the pipe.
  int fd() const { return pipe_.fd(); }
  // Takes what there is off the pipe.
  void Read();

 private:
  // Wanted reports whether a test waits for a line.
  using Wanted = std::function<bool(absl::string_view line)>;

  // Takes ownership of `pipe`, the reading end.
  explicit LogLines(net::Socket pipe) : pipe_(std::move(pipe)) {}
  // Looks at lines_ from `*from` on, moves it past those that are not wanted,
  // and removes and returns the first one that is.
  absl::optional<std::string> TryTakeFrom(size_t* from, const Wanted& wanted);
  // Waits until `deadline` for TryTakeFrom() to return a line. `what` describes
  // the line in errors.
  absl::StatusOr<std::string> AwaitFrom(size_t* from, const Wanted& wanted,
                                        absl::string_view what,
                                        net::Instant deadline);
  // Does the same for an event.
  absl::StatusOr<LoggedEvent> AwaitEventFrom(size_t* from,
                                             absl::string_view name,
                                             const LoggedEvent::Fields& fields,
                                             net::Instant deadline);

  net::Socket pipe_;
  std::string all_;
  size_t split_ = 0;               // the part of all_ that went into lines_
  std::deque<std::string> lines_;  // not returned yet
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_LOG_LINES_H_

// LogLines: what a server process says on its standard error, line by line.
//
// The log is a pipe, and its lines are the events that tests wait for. They are
// read whenever somebody waits, or asks; the pipe has room for some ten
// thousand, and a server whose pipe is full drops lines, as with any slow
// reader.
//
// Lives in the test process. Owns the reading end. Not thread-safe.
//
// Errors: DeadlineExceeded or, once nobody is left who could write,
// Unavailable, each with the whole log so far.
//
// Example:
//   absl::StatusOr<LogLines> lines = LogLines::Create(&writing_end);
//   ... a server process with `writing_end` as its standard error ...
//   EXPECT_THAT(lines->Await("forked pid", absl::Seconds(10)), IsOk());

#ifndef BROOD_TESTING_INTERNAL_LOG_LINES_H_
#define BROOD_TESTING_INTERNAL_LOG_LINES_H_

#include <cstddef>
#include <deque>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/socket.h"

namespace brood::testing {

class LogLines {
 public:
  // Nothing, and no more to come.
  LogLines() = default;
  // Of a new pipe, whose other end is the caller's; both are close-on-exec.
  static absl::StatusOr<LogLines> Create(net::Socket* writing_end);

  // Waits for a line that contains `text` and gives it. Each line is given
  // once, and those without `text` stay for other calls.
  absl::StatusOr<std::string> Await(absl::string_view text,
                                    absl::Duration patience);
  absl::Status AwaitAll(int count, absl::string_view text,
                        absl::Duration patience);
  // The same of what is there, without waiting.
  absl::optional<std::string> TryTake(absl::string_view text) {
    size_t from = 0;
    return TryTakeFrom(&from, text);
  }

  // Everything so far, given or not.
  const std::string& All();
  // Readable when there is more; -1 when nobody is left who could write.
  int fd() const { return pipe_.fd(); }
  // Takes what there is off the pipe.
  void Read();

 private:
  explicit LogLines(net::Socket pipe) : pipe_(std::move(pipe)) {}
  // Looks at lines_ from `*from` on, and moves it past those without `text`.
  absl::optional<std::string> TryTakeFrom(size_t* from, absl::string_view text);

  net::Socket pipe_;
  std::string all_;
  size_t split_ = 0;               // how much of it went into lines_
  std::deque<std::string> lines_;  // not given yet
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_LOG_LINES_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_LOGGED_EVENT_H_
#define BROOD_TESTING_LOGGED_EVENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::testing {

// LoggedEvent is an event that a test reads from a JSON line of a server's log.
//
// A value of the test process. The names and keys are those of a server whose
// log has the format JSON; durations are integers of nanoseconds. Parse() is
// strict: it accepts one flat object of strings and integers and nothing else,
// so it also proves that a line is JSON and valid UTF-8.
//
// Errors: Parse() returns InvalidArgument, which quotes the line. Number() and
// Text() throw std::out_of_range, which quotes it too, if the event has no such
// field: the test fails.
//
// Example:
//   const absl::StatusOr<LoggedEvent> event = LoggedEvent::Parse(line);
//   ASSERT_THAT(event, IsOk());
//   EXPECT_EQ(event->name(), "forked");
//   EXPECT_EQ(event->Number("brood.child.pid"), 4711);
class LoggedEvent {
 public:
  // Value is the value of a field.
  using Value = std::variant<int64_t, std::string>;

  // Returns the event that `line`, without its newline, describes.
  static absl::StatusOr<LoggedEvent> Parse(absl::string_view line);

  // Returns the name: the value of "event.action"; empty if there is none.
  absl::string_view name() const;
  // Reports whether the event has the field `key`.
  bool Has(absl::string_view key) const;
  // Returns the integer under `key`.
  int64_t Number(absl::string_view key) const;
  // Returns the string under `key`.
  const std::string& Text(absl::string_view key) const;

  // Returns all fields, by their keys.
  const std::map<std::string, Value, std::less<>>& fields() const {
    return fields_;
  }
  // Returns the line.
  const std::string& line() const { return line_; }

 private:
  const Value& Get(absl::string_view key) const;

  std::string line_;
  std::map<std::string, Value, std::less<>> fields_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_LOGGED_EVENT_H_

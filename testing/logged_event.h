// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_LOGGED_EVENT_H_
#define BROOD_TESTING_LOGGED_EVENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

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
//   EXPECT_EQ(event->name(), "ended");
//   EXPECT_EQ(event->Number("brood.child.pid"), 4711);
//   EXPECT_TRUE(event->HasAll({{"brood.outcome", "ok"}}));
class LoggedEvent {
 public:
  // Value is the value of a field.
  using Value = std::variant<int64_t, std::string>;
  // Fields is values by their keys.
  using Fields = std::map<std::string, Value, std::less<>>;

  // Returns the event that `line`, without its newline, describes.
  static absl::StatusOr<LoggedEvent> Parse(absl::string_view line);
  // Reports whether `line` is that of an event called `name`, or of any event
  // if `name` is empty. The rest of the line may be damaged.
  static bool IsLineOf(absl::string_view name, absl::string_view line);

  // Returns the name: the value of "event.action"; empty if there is none.
  absl::string_view name() const;
  // Reports whether the event has the field `key`.
  bool Has(absl::string_view key) const;
  // Reports whether the event has each of `fields` with the same value.
  bool HasAll(const Fields& fields) const;
  // Returns the integer under `key`.
  int64_t Number(absl::string_view key) const;
  // Returns the string under `key`.
  const std::string& Text(absl::string_view key) const;

  // Returns all fields, by their keys.
  const Fields& fields() const { return fields_; }
  // Returns the line.
  const std::string& line() const { return line_; }

 private:
  // Returns the value under `key`. Throws std::out_of_range, which quotes the
  // line, if there is none.
  const Value& Get(absl::string_view key) const;

  std::string line_;
  Fields fields_;
};

// Prints the line of `event`.
std::ostream& operator<<(std::ostream& stream, const LoggedEvent& event);

// Returns the events of `log`, the text of a log in the format JSON, that are
// called `name` and have each of `fields`, in their order. An empty `name`
// stands for every name. Leaves out lines that are no events, which handlers
// and other programs write, and a last line that has no newline yet. Throws
// std::invalid_argument, which quotes the line, if the line of an event called
// `name` is damaged.
std::vector<LoggedEvent> EventsOf(absl::string_view log, absl::string_view name,
                                  const LoggedEvent::Fields& fields = {});

}  // namespace brood::testing

#endif  // BROOD_TESTING_LOGGED_EVENT_H_

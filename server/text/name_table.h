// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_TEXT_NAME_TABLE_H_
#define BROOD_SERVER_TEXT_NAME_TABLE_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace brood::server {

// NamedValue is one row of the table of names of an enum.
//
// Each enum that a flag or a configuration file may name has one table, in its
// own .cc file, and two functions that read it: NameOf() and Parse...(). The
// error of Parse...() lists the names of the table, so that a new row needs no
// other change.
//
// Pure; works in every process.
//
// Example:
//   constexpr NamedValue<Color> kColors[] = {{Color::kRed, "red"},
//                                            {Color::kBlue, "blue"}};
//   absl::StatusOr<Color> color = ParseName(kColors, "color", "green");
//   // InvalidArgument: color=green: must be red or blue
template <typename Value>
struct NamedValue {
  Value value;
  const char* name;
};

// Returns the name of `value`, or an empty text if `table` does not hold it.
template <typename Value, size_t size>
absl::string_view FindName(const NamedValue<Value> (&table)[size],
                           Value value) {
  for (const NamedValue<Value>& row : table) {
    if (row.value == value) return row.name;
  }
  return {};
}

// Returns InvalidArgument for `text`, which is not a name of the option `what`:
// "color=green: must be red or blue".
absl::Status UnknownName(absl::string_view what, absl::string_view text,
                         absl::Span<const absl::string_view> allowed);

// Returns the value whose name is exactly `text`. Returns UnknownName(), with
// every name of the table, if there is none. `what` is the name of the option.
template <typename Value, size_t size>
absl::StatusOr<Value> ParseName(const NamedValue<Value> (&table)[size],
                                absl::string_view what,
                                absl::string_view text) {
  absl::string_view allowed[size];
  for (size_t i = 0; i < size; ++i) {
    if (table[i].name == text) return table[i].value;
    allowed[i] = table[i].name;
  }
  return UnknownName(what, text, allowed);
}

}  // namespace brood::server

#endif  // BROOD_SERVER_TEXT_NAME_TABLE_H_

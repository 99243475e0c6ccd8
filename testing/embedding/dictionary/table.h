// SPDX-License-Identifier: Apache-2.0

#ifndef DICTIONARY_TABLE_H_
#define DICTIONARY_TABLE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace embedder {

// Table holds words and their meanings. It is read once, and then only
// searched.
//
// A value, created in the parent before the server. Children share its pages,
// however large it is, because no process writes to them. The text has a word
// and its meaning on each line, with a tab between them:
//
//   fork<TAB>a process from another
//
// Errors: InvalidArgument, with the line ("line 3: no tab"), or with the file
// that cannot be read.
//
// Example:
//   absl::StatusOr<Table> table = Table::Load("words.txt");
//   if (!table.ok()) return table.status();
//   table->Find("fork");  // "a process from another"
class Table {
 public:
  // Returns the table with this text.
  static absl::StatusOr<Table> Parse(absl::string_view text);
  // Returns the table in this file.
  static absl::StatusOr<Table> Load(const std::string& path);

  // Returns the meaning of `word`, which is valid as long as the table lives.
  absl::optional<absl::string_view> Find(absl::string_view word) const;
  // Returns all meanings, by word.
  const std::map<std::string, std::string>& meanings() const {
    return meanings_;
  }

 private:
  std::map<std::string, std::string> meanings_;
};

}  // namespace embedder

#endif  // DICTIONARY_TABLE_H_

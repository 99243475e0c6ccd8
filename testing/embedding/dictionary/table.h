// Table: words and what they mean, read once, then only looked at.
//
// Made in the parent before the server is: children see it without a copy being
// made, however large it is, because nobody writes to it. A value. The text it
// is made of has a word and its meaning on each line, with a tab between them:
//
//   fork<TAB>a process from another
//
// Errors: Parse() gives InvalidArgument, with the line ("line 3: no tab"), and
// Load() also what open said ("words.txt: cannot be read").
//
// Example:
//   absl::StatusOr<Table> table = Table::Load("words.txt");
//   if (!table.ok()) return table.status();
//   table->Find("fork");  // "a process from another"

#ifndef DICTIONARY_TABLE_H_
#define DICTIONARY_TABLE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace embedder {

class Table {
 public:
  static absl::StatusOr<Table> Parse(absl::string_view text);
  static absl::StatusOr<Table> Load(const std::string& path);

  // The meaning of `word`, for as long as the table lives.
  absl::optional<absl::string_view> Find(absl::string_view word) const;
  // All of it, by word.
  const std::map<std::string, std::string>& meanings() const {
    return meanings_;
  }

 private:
  std::map<std::string, std::string> meanings_;
};

}  // namespace embedder

#endif  // DICTIONARY_TABLE_H_

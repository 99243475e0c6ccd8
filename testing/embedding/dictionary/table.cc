// SPDX-License-Identifier: Apache-2.0

#include "dictionary/table.h"

#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace embedder {

absl::StatusOr<Table> Table::Parse(absl::string_view text) {
  Table table;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    const size_t tab = line.find('\t');
    if (tab == absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": no tab"));
    }
    const bool is_new = table.meanings_
                            .emplace(std::string(line.substr(0, tab)),
                                     std::string(line.substr(tab + 1)))
                            .second;
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": the same word again"));
    }
  }
  return table;
}

absl::StatusOr<Table> Table::Load(const std::string& path) {
  std::ostringstream text;
  if (!(text << std::ifstream(path).rdbuf())) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  }
  return Parse(text.str());
}

absl::optional<absl::string_view> Table::Find(absl::string_view word) const {
  const auto found = meanings_.find(std::string(word));
  if (found == meanings_.end()) return absl::nullopt;
  return absl::string_view(found->second);
}

}  // namespace embedder

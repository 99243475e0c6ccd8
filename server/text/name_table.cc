// SPDX-License-Identifier: Apache-2.0

#include "brood/server/text/name_table.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace brood::server {

absl::Status UnknownName(absl::string_view what, absl::string_view text,
                         absl::Span<const absl::string_view> allowed) {
  std::string list;
  for (size_t i = 0; i < allowed.size(); ++i) {
    const bool is_last = i + 1 == allowed.size();
    absl::StrAppend(&list, i == 0 ? "" : is_last ? " or " : ", ", allowed[i]);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(what, "=", absl::CHexEscape(text), ": must be ", list));
}

}  // namespace brood::server

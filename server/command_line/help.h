// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_COMMAND_LINE_HELP_H_
#define BROOD_SERVER_COMMAND_LINE_HELP_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace brood::server {

// The number of characters in the longest line of HelpText().
inline constexpr size_t kHelpColumns = 80;

// Returns the text of --help, in which each flag has its default and the text
// with which it is defined.
std::string HelpText();

// Returns the line of --version: "brood 1.2.3".
std::string VersionText();

// Returns the words of `text` in lines that begin with `indent` blanks and have
// at most kHelpColumns characters; a longer word has a line of its own.
std::string Wrapped(absl::string_view text, size_t indent);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_HELP_H_

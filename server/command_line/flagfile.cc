#include "brood/server/command_line/flagfile.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gflags/gflags.h"

namespace brood::server {
namespace {

// Files that name each other would never end.
constexpr int kDeepestFile = 8;

absl::Status CheckFile(const std::string& path, int depth);

// One argument that begins with a dash. Says in `*takes_next` whether its value
// is the next one.
absl::Status CheckFlag(absl::string_view argument, int depth,
                       bool* takes_next) {
  *takes_next = false;
  const std::string whole = absl::CHexEscape(argument);
  argument.remove_prefix(absl::StartsWith(argument, "--") ? 2 : 1);
  const size_t equals = argument.find('=');
  const std::string name(argument.substr(0, equals));
  const bool has_value = equals != absl::string_view::npos;
  gflags::CommandLineFlagInfo flag;
  if (!gflags::GetCommandLineFlagInfo(name.c_str(), &flag) &&
      !(absl::StartsWith(name, "no") &&
        gflags::GetCommandLineFlagInfo(name.c_str() + 2, &flag) &&
        flag.type == "bool")) {
    return absl::InvalidArgumentError(
        absl::StrCat(whole, " is not a flag; --help lists what is allowed"));
  }
  bool on;
  if (flag.type == "bool" && has_value &&
      !absl::SimpleAtob(argument.substr(equals + 1), &on)) {
    return absl::InvalidArgumentError(
        absl::StrCat(whole, ": must be true or false"));
  }
  *takes_next = flag.type != "bool" && !has_value;
  if (name != "flagfile" || !has_value) return absl::OkStatus();
  for (const absl::string_view path :
       absl::StrSplit(argument.substr(equals + 1), ',', absl::SkipEmpty())) {
    absl::Status file = CheckFile(std::string(path), depth + 1);
    if (!file.ok()) return file;
  }
  return absl::OkStatus();
}

// What gflags would not read to its end, or line by line: it reads as C does,
// and as long as there is a carriage return ahead it knows no other end of a
// line.
absl::Status CheckForm(absl::string_view contents) {
  if (absl::StrContains(contents, '\0')) {
    return absl::InvalidArgumentError("it holds a NUL");
  }
  const auto returns = std::count(contents.begin(), contents.end(), '\r');
  if (returns == 0) return absl::OkStatus();
  const auto lines = std::count(contents.begin(), contents.end(), '\n');
  const std::vector<absl::string_view> parts = absl::StrSplit(contents, "\r\n");
  if (returns == lines && parts.size() == static_cast<size_t>(returns) + 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "a carriage return must be at the end of each line, or nowhere");
}

// Lines of a flag each; those that begin with anything but a dash say for which
// programs the ones after them are, and are for gflags to understand.
absl::Status CheckLines(absl::string_view contents, int depth) {
  for (absl::string_view line : absl::StrSplit(contents, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    line = absl::StripLeadingAsciiWhitespace(line);
    if (!absl::StartsWith(line, "-")) continue;
    bool takes_next;
    absl::Status checked = CheckFlag(line, depth, &takes_next);
    if (!checked.ok()) return checked;
    if (takes_next) {
      return absl::InvalidArgumentError(absl::StrCat(
          absl::CHexEscape(line), ": the value must be in the same line"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFile(const std::string& path, int depth) {
  const std::string name = absl::CHexEscape(path);
  if (depth > kDeepestFile) {
    return absl::InvalidArgumentError(
        absl::StrCat("flagfile=", name, ": files name each other too deep"));
  }
  std::ifstream file(path);
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrCat("flagfile=", name, ": can't be read"));
  }
  std::ostringstream contents;
  contents << file.rdbuf();
  for (const absl::Status& checked :
       {CheckForm(contents.str()), CheckLines(contents.str(), depth)}) {
    if (checked.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(checked.message(), " (in ", name, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFlags(int argc, const char* const* argv) {
  for (int i = 1; i < argc && absl::StartsWith(argv[i], "-"); ++i) {
    if (absl::string_view(argv[i]) == "--") break;
    bool takes_next;
    absl::Status checked = CheckFlag(argv[i], /*depth=*/0, &takes_next);
    // With its value, which may be the name of a file.
    if (checked.ok() && takes_next && ++i < argc) {
      checked = CheckFlag(absl::StrCat(argv[i - 1], "=", argv[i]), /*depth=*/0,
                          &takes_next);
    }
    if (!checked.ok()) return checked;
  }
  return absl::OkStatus();
}

}  // namespace brood::server

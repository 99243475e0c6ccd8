#include "brood/server/check_flags.h"

#include <fstream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
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
  const std::string whole(argument);
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

// Lines of a flag each; those that begin with anything but a dash say for which
// programs the ones after them are, and are for gflags to understand.
absl::Status CheckFile(const std::string& path, int depth) {
  if (depth > kDeepestFile) {
    return absl::InvalidArgumentError(
        absl::StrCat("flagfile=", path, ": files name each other too deep"));
  }
  std::ifstream file(path);
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrCat("flagfile=", path, ": can't be read"));
  }
  for (std::string line; std::getline(file, line);) {
    const absl::string_view flag = absl::StripAsciiWhitespace(line);
    if (!absl::StartsWith(flag, "-")) continue;
    bool ignored;
    const absl::Status checked = CheckFlag(flag, depth, &ignored);
    if (!checked.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(checked.message(), " (in ", path, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFlags(int argc, const char* const* argv) {
  for (int i = 1; i < argc && absl::StartsWith(argv[i], "-"); ++i) {
    if (absl::string_view(argv[i]) == "--") break;
    bool takes_next;
    absl::Status checked = CheckFlag(argv[i], /*depth=*/0, &takes_next);
    if (!checked.ok()) return checked;
    if (takes_next) ++i;
  }
  return absl::OkStatus();
}

}  // namespace brood::server

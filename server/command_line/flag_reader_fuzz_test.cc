// SPDX-License-Identifier: Apache-2.0

// Tests ReadFlags() with any contents of a file that --flagfile names: it
// refuses the file in one line that names it, or each line is blank, a comment,
// or a flag with the value in the line.
//
// An input is such a file; one that names other files is left out.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "brood/server/command_line/flag_reader.h"
#include "brood/testing/fuzz/require.h"

namespace {

using brood::server::FlagKind;
using brood::server::GivenFlag;
using brood::server::GivenFlags;
using brood::server::KnownFlag;
using brood::server::ReadFlags;
using brood::testing::Require;

const std::vector<KnownFlag>& Known() {
  static const auto* const known = new std::vector<KnownFlag>{
      {"text", FlagKind::kText, ""},
      {"on", FlagKind::kBool, ""},
      {"help", FlagKind::kAnswer, ""},
      {"fromenv", FlagKind::kRefused, "not supported"},
  };
  return *known;
}

absl::StatusOr<GivenFlags> ReadAsFile(absl::string_view contents) {
  const int file = memfd_create("flags", MFD_CLOEXEC);
  Require(write(file, contents.data(), contents.size()) ==
              static_cast<ssize_t>(contents.size()),
          "the file is written");
  const std::string path = absl::StrCat("/proc/self/fd/", file);
  absl::StatusOr<GivenFlags> given =
      ReadFlags({absl::StrCat("--flagfile=", path)}, Known());
  close(file);
  if (given.ok()) return given;
  Require(absl::IsInvalidArgument(given.status()) &&
              (absl::StartsWith(given.status().message(),
                                absl::StrCat(path, ":")) ||
               absl::StartsWith(given.status().message(),
                                absl::StrCat("--flagfile=", path, ": "))),
          "an error is an invalid argument that names the file");
  brood::testing::RequireOneLine(given.status());
  return given;
}

void RequireMeaning(absl::string_view line, const GivenFlag& flag) {
  Require(absl::ConsumePrefix(&line, "-"), "a flag has a dash", line);
  absl::ConsumePrefix(&line, "-");
  if (flag.name == "text") {
    Require(line == absl::StrCat("text=", flag.value), "a text is kept", line);
    return;
  }
  Require(flag.name == "on", "there is no other flag", flag.name);
  bool on = line == "on";
  if (absl::ConsumePrefix(&line, "on=")) {
    Require(absl::SimpleAtob(line, &on), "a switch is on or off", line);
  } else {
    Require(on || line == "noon", "a switch has its name", line);
  }
  Require(flag.value == (on ? "true" : "false"), "a switch is kept", line);
}

absl::string_view Stripped(absl::string_view line) {
  while (absl::ConsumePrefix(&line, " ") || absl::ConsumePrefix(&line, "\t")) {
  }
  while (absl::ConsumeSuffix(&line, " ") || absl::ConsumeSuffix(&line, "\t")) {
  }
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view contents(reinterpret_cast<const char*>(bytes), size);
  if (absl::StrContains(contents, "flagfile")) return 0;
  const absl::StatusOr<GivenFlags> given = ReadAsFile(contents);
  if (!given.ok()) return 0;
  auto flag = given->flags.begin();
  for (absl::string_view line : absl::StrSplit(contents, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    line = Stripped(line);
    if (line.empty() || absl::StartsWith(line, "#")) continue;
    Require(flag != given->flags.end(), "no line is skipped", line);
    RequireMeaning(line, *flag++);
  }
  Require(flag == given->flags.end(), "a line is one flag", contents);
  // An upgrade starts the program with the flags, because a descriptor is not a
  // regular file.
  const absl::StatusOr<GivenFlags> again = ReadFlags(given->arguments, Known());
  Require(again.ok() && again->flags.size() == given->flags.size(),
          "the arguments have the same flags", contents);
  for (size_t i = 0; i < again->flags.size(); ++i) {
    Require(again->flags[i].name == given->flags[i].name &&
                again->flags[i].value == given->flags[i].value,
            "the arguments have the same values", contents);
  }
  return 0;
}

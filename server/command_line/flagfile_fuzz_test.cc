// What holds for a file that --flagfile names, whatever is in it: CheckFlags()
// refuses it in one line that names the file, or gflags reads it without an
// error and takes each flag as it stands there.
//
// An input is such a file; what names other files and what makes gflags end the
// program is left out.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "brood/server/command_line/flagfile.h"
#include "brood/testing/fuzz/require.h"
#include "gflags/gflags.h"

DEFINE_string(text, "", "any");
DEFINE_bool(on, false, "true or false");

namespace {

using brood::testing::Require;

bool IsForGflagsAlone(absl::string_view text) {
  for (const char* word :
       {"flagfile", "fromenv", "help", "version", "completion", "undefok"}) {
    if (absl::StrContains(text, word)) return true;
  }
  return false;
}

absl::Status CheckFile(absl::string_view contents) {
  const int file = memfd_create("flags", MFD_CLOEXEC);
  Require(write(file, contents.data(), contents.size()) ==
              static_cast<ssize_t>(contents.size()),
          "the file is written");
  const std::string path = absl::StrCat("/proc/self/fd/", file);
  const std::string flagfile = absl::StrCat("--flagfile=", path);
  const char* const arguments[] = {"program", flagfile.c_str()};
  absl::Status checked = brood::server::CheckFlags(2, arguments);
  close(file);
  if (checked.ok()) return checked;
  Require(absl::IsInvalidArgument(checked) &&
              absl::StrContains(checked.message(), path),
          "an error is an invalid argument that names the file");
  brood::testing::RequireOneLine(checked);
  return checked;
}

struct Meant {
  std::string text;
  bool on = false;
};

// What the lines mean; nothing if some of them name programs.
absl::optional<Meant> Read(absl::string_view contents) {
  Meant meant;
  for (absl::string_view line : absl::StrSplit(contents, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    line = absl::StripLeadingAsciiWhitespace(line);
    if (line.empty() || absl::StartsWith(line, "#")) continue;
    if (!absl::ConsumePrefix(&line, "-")) return absl::nullopt;
    absl::ConsumePrefix(&line, "-");
    if (absl::ConsumePrefix(&line, "text=")) {
      meant.text = std::string(line);
    } else if (absl::ConsumePrefix(&line, "on=")) {
      Require(absl::SimpleAtob(line, &meant.on), "a switch is on or off", line);
    } else {
      Require(line == "on" || absl::StartsWith(line, "noon"),
              "there is no other flag", line);
      meant.on = line == "on";
    }
  }
  return meant;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view contents(reinterpret_cast<const char*>(bytes), size);
  if (IsForGflagsAlone(contents) || !CheckFile(contents).ok()) return 0;
  FLAGS_text = "";
  FLAGS_on = false;
  Require(gflags::ReadFlagsFromString(std::string(contents), "program",
                                      /*errors_are_fatal=*/false),
          "gflags takes what passes", contents);
  const absl::optional<Meant> meant = Read(contents);
  if (!meant) return 0;
  Require(FLAGS_text == meant->text && FLAGS_on == meant->on,
          "gflags skips nothing, and takes no line for another", contents);
  return 0;
}

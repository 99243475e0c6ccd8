// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/flag_reader.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "brood/server/command_line/flagfile.h"

namespace brood::server {
namespace {

// The most files that may be open at once, each named by the one before it.
// Limits the descriptors and the stack that they need.
constexpr size_t kDeepestFile = 8;

constexpr char kFlagfile[] = "flagfile";

// Returns `text` for a message: escaped, and shortened if it is long.
std::string Quoted(absl::string_view text) {
  constexpr size_t kLongest = 200;
  return absl::StrCat(absl::CHexEscape(text.substr(0, kLongest)),
                      text.size() > kLongest ? "..." : "");
}

// Place is where a flag was read.
struct Place {
  // "FILE:LINE", or empty for the command line.
  std::string where;

  // Whether GivenFlags::arguments get the flag itself, and not the name of the
  // file in which it is.
  bool is_repeated = true;

  bool is_file() const { return !where.empty(); }
};

absl::Status Error(const Place& place, absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(place.where, place.is_file() ? ": " : "", message));
}

// Parts are the parts of "--name=value".
struct Parts {
  explicit Parts(absl::string_view flag) : whole(flag) {
    absl::ConsumePrefix(&flag, "-");
    absl::ConsumePrefix(&flag, "-");
    const size_t equals = flag.find('=');
    name = flag.substr(0, equals);
    if (equals != absl::string_view::npos) value = flag.substr(equals + 1);
  }

  absl::string_view whole;
  absl::string_view name;
  absl::optional<absl::string_view> value;
};

bool HasComment(absl::string_view value) {
  return absl::StrContains(value, " #") || absl::StrContains(value, "\t#");
}

class Reader {
 public:
  explicit Reader(absl::Span<const KnownFlag> known)
      : known_(known.begin(), known.end()) {
    known_.push_back({kFlagfile, FlagKind::kText, ""});
  }

  absl::Status ReadArguments(absl::Span<const std::string> arguments);

  GivenFlags TakeGiven() && { return std::move(given_); }

 private:
  const KnownFlag* Find(absl::string_view name) const;
  // Returns the switch that "--noNAME" turns off, or null.
  const KnownFlag* FindNegated(absl::string_view name) const;

  absl::Status ReadProgram(absl::Span<const std::string> program);
  absl::Status ReadFlag(absl::string_view flag, const Place& place);
  absl::Status ReadBool(const KnownFlag& known, const Parts& parts,
                        const Place& place);
  absl::Status ReadFiles(absl::string_view paths, const Place& place);
  absl::Status ReadFile(absl::string_view path, const Place& place);
  absl::Status ReadLines(absl::string_view contents, absl::string_view path,
                         bool are_repeated);

  void Give(const KnownFlag& known, absl::string_view value,
            const Place& place) {
    given_.flags.push_back({known.name, std::string(value), place.where});
  }

  std::vector<KnownFlag> known_;
  // The files that are being read, each named by the one before it.
  std::vector<Flagfile> open_;
  GivenFlags given_;
  bool is_answered_ = false;
};

const KnownFlag* Reader::Find(absl::string_view name) const {
  const auto find = [this](absl::string_view exact) -> const KnownFlag* {
    const auto found =
        std::find_if(known_.begin(), known_.end(),
                     [exact](const KnownFlag& f) { return f.name == exact; });
    return found == known_.end() ? nullptr : &*found;
  };
  const KnownFlag* found = find(name);
  // --max-connections means --max_connections.
  return found != nullptr ? found
                          : find(absl::StrReplaceAll(name, {{"-", "_"}}));
}

const KnownFlag* Reader::FindNegated(absl::string_view name) const {
  if (!absl::ConsumePrefix(&name, "no")) return nullptr;
  const KnownFlag* found = Find(name);
  return found != nullptr && found->kind == FlagKind::kBool ? found : nullptr;
}

absl::Status Reader::ReadArguments(absl::Span<const std::string> arguments) {
  const Place command_line;
  for (size_t i = 0; i < arguments.size() && !is_answered_; ++i) {
    std::string argument = arguments[i];
    if (argument == "--") return ReadProgram(arguments.subspan(i + 1));
    if (argument == "-" || !absl::StartsWith(argument, "-")) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", Quoted(argument),
                       "\" is not a flag; --help lists what is allowed"));
    }
    const Parts parts(argument);
    const KnownFlag* known = Find(parts.name);
    if (known != nullptr && known->kind == FlagKind::kText &&
        !parts.value.has_value() && i + 1 < arguments.size() &&
        !absl::StartsWith(arguments[i + 1], "-")) {
      absl::StrAppend(&argument, "=", arguments[++i]);
    }
    absl::Status read = ReadFlag(argument, command_line);
    if (!read.ok()) return read;
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadProgram(absl::Span<const std::string> program) {
  if (program.empty()) {
    return absl::InvalidArgumentError(
        "--: must be followed by a program, which serves the connections");
  }
  given_.program.assign(program.begin(), program.end());
  given_.arguments.push_back("--");
  given_.arguments.insert(given_.arguments.end(), program.begin(),
                          program.end());
  return absl::OkStatus();
}

// Reads one flag. `flag` begins with a dash.
absl::Status Reader::ReadFlag(absl::string_view flag, const Place& place) {
  const Parts parts(flag);
  const KnownFlag* known = Find(parts.name);
  if (known == nullptr) known = FindNegated(parts.name);
  if (known == nullptr) {
    return Error(place, absl::StrCat(Quoted(flag),
                                     " is not a flag; --help "
                                     "lists what is allowed"));
  }
  switch (known->kind) {
    case FlagKind::kBool: {
      absl::Status read = ReadBool(*known, parts, place);
      if (!read.ok()) return read;
      break;
    }
    case FlagKind::kText:
      if (!parts.value.has_value()) {
        return Error(place,
                     absl::StrCat(Quoted(flag), ": has no value; write --",
                                  known->name, "=VALUE"));
      }
      // The comment would become a part of a name or of a path.
      if (place.is_file() && HasComment(*parts.value)) {
        return Error(place,
                     absl::StrCat(Quoted(flag),
                                  ": a comment must have a line of its own"));
      }
      if (known->name == kFlagfile) return ReadFiles(*parts.value, place);
      Give(*known, *parts.value, place);
      break;
    case FlagKind::kCommand:
    case FlagKind::kAnswer:
      if (place.is_file()) {
        return Error(place,
                     absl::StrCat(Quoted(flag),
                                  ": is allowed on the command line only"));
      }
      if (parts.value.has_value()) {
        return Error(place, absl::StrCat(Quoted(flag), ": takes no value"));
      }
      is_answered_ = known->kind == FlagKind::kAnswer;
      Give(*known, "", place);
      break;
    case FlagKind::kRefused:
      return Error(place, absl::StrCat("--", known->name,
                                       ": is not supported; ", known->remedy));
  }
  if (place.is_repeated) given_.arguments.emplace_back(flag);
  return absl::OkStatus();
}

absl::Status Reader::ReadBool(const KnownFlag& known, const Parts& parts,
                              const Place& place) {
  bool on = Find(parts.name) != nullptr;
  if (!on && parts.value.has_value()) {
    return Error(place,
                 absl::StrCat(Quoted(parts.whole), ": takes no value; write --",
                              known.name, "=true or --", known.name, "=false"));
  }
  if (parts.value.has_value() && !absl::SimpleAtob(*parts.value, &on)) {
    return Error(place,
                 absl::StrCat(Quoted(parts.whole), ": must be true or false"));
  }
  Give(known, on ? "true" : "false", place);
  return absl::OkStatus();
}

absl::Status Reader::ReadFiles(absl::string_view paths, const Place& place) {
  for (const absl::string_view path : absl::StrSplit(paths, ',')) {
    absl::Status read = ReadFile(path, place);
    if (!read.ok()) return read;
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadFile(absl::string_view path, const Place& place) {
  const std::string name = absl::StrCat("--", kFlagfile, "=", Quoted(path));
  if (path.empty()) {
    return Error(place, absl::StrCat(name, ": must name a file"));
  }
  if (open_.size() == kDeepestFile) {
    return Error(place, absl::StrCat(name, ": files name each other more than ",
                                     kDeepestFile, " deep"));
  }
  absl::StatusOr<Flagfile> file =
      ReadFlagfile(std::string(path), /*must_last=*/place.is_file());
  if (!file.ok()) {
    return Error(place, absl::StrCat(name, ": ", file.status().message()));
  }
  for (const Flagfile& open : open_) {
    if (open.id != file->id) continue;
    return Error(place, absl::StrCat(name, ": a file must not name itself, ",
                                     "directly or through others"));
  }
  if (place.is_repeated && file->is_lasting) {
    given_.arguments.push_back(absl::StrCat("--", kFlagfile, "=", path));
  }
  const std::string contents = std::move(file->contents);
  const bool are_repeated = place.is_repeated && !file->is_lasting;
  open_.push_back(*std::move(file));
  absl::Status read = ReadLines(contents, path, are_repeated);
  open_.pop_back();
  return read;
}

absl::Status Reader::ReadLines(absl::string_view contents,
                               absl::string_view path, bool are_repeated) {
  Place place;
  place.is_repeated = are_repeated;
  absl::Status encoding = CheckEncoding(contents);
  size_t number = 0;
  while (!contents.empty()) {
    place.where = absl::StrCat(Quoted(path), ":", ++number);
    if (!encoding.ok()) return Error(place, encoding.message());
    const size_t end = contents.find('\n');
    const bool is_ended = end != absl::string_view::npos;
    const absl::StatusOr<absl::string_view> flag =
        FlagInLine(contents.substr(0, end), is_ended);
    if (!flag.ok()) return Error(place, flag.status().message());
    contents.remove_prefix(is_ended ? end + 1 : contents.size());
    if (flag->empty()) continue;
    if (!absl::StartsWith(*flag, "-")) {
      return Error(place, absl::StrCat("\"", Quoted(*flag),
                                       "\" is not a flag, which is written "
                                       "--NAME=VALUE, nor a comment (#)"));
    }
    absl::Status read = ReadFlag(*flag, place);
    if (!read.ok()) return read;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GivenFlags> ReadFlags(absl::Span<const std::string> arguments,
                                     absl::Span<const KnownFlag> known) {
  Reader reader(known);
  absl::Status read = reader.ReadArguments(arguments);
  if (!read.ok()) return read;
  return std::move(reader).TakeGiven();
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/flag_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/net/unique_fd.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FlagReaderTest : public ::brood::testing::LeakCheck {
 protected:
  FlagReaderTest() {
    directory_ = absl::StrCat(::testing::TempDir(), "/XXXXXX");
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
  }

  static absl::StatusOr<GivenFlags> Read(
      const std::vector<std::string>& arguments) {
    static const auto* const known = new std::vector<KnownFlag>{
        {"text", FlagKind::kText, ""},
        {"long_text", FlagKind::kText, ""},
        {"on", FlagKind::kBool, ""},
        {"check", FlagKind::kCommand, ""},
        {"help", FlagKind::kAnswer, ""},
        {"fromenv", FlagKind::kRefused, "write them into a file"},
    };
    return ReadFlags(arguments, *known);
  }

  // Returns the flags that are read from `arguments`, as "name=value" each,
  // after " at " with the place if it is in a file.
  static absl::StatusOr<std::vector<std::string>> Flags(
      const std::vector<std::string>& arguments) {
    const absl::StatusOr<GivenFlags> given = Read(arguments);
    if (!given.ok()) return given.status();
    std::vector<std::string> flags;
    for (const GivenFlag& flag : given->flags) {
      flags.push_back(absl::StrCat(flag.name, "=", flag.value,
                                   flag.where.empty() ? "" : " at ",
                                   flag.where));
    }
    return flags;
  }

  std::string Path(absl::string_view name) const {
    return absl::StrCat(directory_, "/", name);
  }

  // Writes the file `name`.
  void Write(absl::string_view name, absl::string_view contents) const {
    std::ofstream(Path(name)) << contents;
  }

  // Returns the flags of a file with `contents`, without the places.
  absl::StatusOr<std::vector<std::string>> FlagsOfFile(
      absl::string_view contents) const {
    Write("flags", contents);
    const absl::StatusOr<GivenFlags> given =
        Read({"--flagfile=" + Path("flags")});
    if (!given.ok()) return given.status();
    std::vector<std::string> flags;
    for (const GivenFlag& flag : given->flags) {
      flags.push_back(absl::StrCat(flag.name, "=", flag.value));
    }
    return flags;
  }

  // Expects that a file with `contents` is refused, with `error` behind the
  // number of the line.
  void ExpectRefused(absl::string_view contents, absl::string_view error) {
    EXPECT_THAT(FlagsOfFile(contents),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         absl::StrCat(Path("flags"), ":", error)));
  }

  std::string directory_;
};

constexpr char kNoProgram[] =
    "--: must be followed by a program, which serves the connections";
constexpr char kIsNotAFlag[] = " is not a flag; --help lists what is allowed";
constexpr char kIsNotAFlagOfAFile[] =
    " is not a flag, which is written --NAME=VALUE, nor a comment (#)";

TEST_F(FlagReaderTest, ReadsEachFormOfAFlag) {
  EXPECT_THAT(Flags({}), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Flags({"--text=a", "-text=", "--text", "b", "-text", "a=b",
                     "--long-text=c", "--text=a b=c"}),
              IsOkAndHolds(ElementsAre("text=a", "text=", "text=b", "text=a=b",
                                       "long_text=c", "text=a b=c")));
  EXPECT_THAT(
      Flags({"--on", "--noon", "-on", "-noon", "--on=true", "--on=FALSE",
             "--on=yes", "--on=n", "--on=1", "--on=0", "--check"}),
      IsOkAndHolds(ElementsAre("on=true", "on=false", "on=true", "on=false",
                               "on=true", "on=false", "on=true", "on=false",
                               "on=true", "on=false", "check=")));
}

TEST_F(FlagReaderTest, RefusesAnArgumentThatIsNotAFlag) {
  const struct {
    std::vector<std::string> arguments;
    std::string error;
  } kRefused[] = {
      {{"--texts=a"}, absl::StrCat("--texts=a", kIsNotAFlag)},
      {{"--on", "--texts"}, absl::StrCat("--texts", kIsNotAFlag)},
      {{"---text=a"}, absl::StrCat("---text=a", kIsNotAFlag)},
      {{"--=a"}, absl::StrCat("--=a", kIsNotAFlag)},
      {{"--notext"}, absl::StrCat("--notext", kIsNotAFlag)},
      {{"--no"}, absl::StrCat("--no", kIsNotAFlag)},
      {{"--nocheck"}, absl::StrCat("--nocheck", kIsNotAFlag)},
      {{"--Text=a"}, absl::StrCat("--Text=a", kIsNotAFlag)},
      {{"--text =a"}, absl::StrCat("--text =a", kIsNotAFlag)},
      {{"--\n"}, absl::StrCat("--\\n", kIsNotAFlag)},
      {{"7000"}, absl::StrCat("\"7000\"", kIsNotAFlag)},
      {{""}, absl::StrCat("\"\"", kIsNotAFlag)},
      {{"-"}, absl::StrCat("\"-\"", kIsNotAFlag)},
      {{"--on", "true"}, absl::StrCat("\"true\"", kIsNotAFlag)},
      {{"--on", "--"}, kNoProgram},
      {{"--text"}, "--text: has no value; write --text=VALUE"},
      {{"--long-text"}, "--long-text: has no value; write --long_text=VALUE"},
      {{"--text", "--on"}, "--text: has no value; write --text=VALUE"},
      {{"--flagfile"}, "--flagfile: has no value; write --flagfile=VALUE"},
      {{"--flagfile="}, "--flagfile=: must name a file"},
      {{"--on="}, "--on=: must be true or false"},
      {{"--on=perhaps"}, "--on=perhaps: must be true or false"},
      {{"--on=2"}, "--on=2: must be true or false"},
      {{"--noon=true"},
       "--noon=true: takes no value; write --on=true or --on=false"},
      {{"--help=true"}, "--help=true: takes no value"},
      {{"--fromenv=text"},
       "--fromenv: is not supported; write them into a file"},
      {{"--" + std::string(300, 'x')},
       absl::StrCat("--", std::string(198, 'x'), "...", kIsNotAFlag)},
  };
  for (const auto& refused : kRefused) {
    EXPECT_THAT(Flags(refused.arguments),
                StatusIs(absl::StatusCode::kInvalidArgument, refused.error));
  }
}

TEST_F(FlagReaderTest, EndsAtTwoDashesAndAtAnAnswer) {
  EXPECT_THAT(Flags({"--on", "--", "--text=a"}),
              IsOkAndHolds(ElementsAre("on=true")));
  EXPECT_THAT(Flags({"--on", "--help", "--texts", "--flagfile=/no/such"}),
              IsOkAndHolds(ElementsAre("on=true", "help=")));
}

TEST_F(FlagReaderTest, ReadsBlankLinesCommentsAndFlags) {
  EXPECT_THAT(FlagsOfFile(""), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(FlagsOfFile("\n\r\n \t\n# --on\n\t # --on\n#"),
              IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(
      FlagsOfFile("--text=a\n-on\n--noon\n--on=yes"),
      IsOkAndHolds(ElementsAre("text=a", "on=true", "on=false", "on=true")));
  EXPECT_THAT(FlagsOfFile("--text=a\r\n\r\n--on\r\n"),
              IsOkAndHolds(ElementsAre("text=a", "on=true")));
  // The ends of lines of two kinds of editors.
  EXPECT_THAT(FlagsOfFile("--text=a\r\n--on\n"),
              IsOkAndHolds(ElementsAre("text=a", "on=true")));
}

TEST_F(FlagReaderTest, KeepsBlanksInsideAValueAndNotAroundIt) {
  EXPECT_THAT(
      FlagsOfFile(" \t--text=a  b\tc \t \r\n--text= a\n--on \n--text= \n"),
      IsOkAndHolds(ElementsAre("text=a  b\tc", "text= a", "on=true", "text=")));
  // An argument keeps the white space at its end.
  EXPECT_THAT(Flags({"--text=a "}), IsOkAndHolds(ElementsAre("text=a ")));
  EXPECT_THAT(FlagsOfFile("--text=#a#\n--text=\"a\"\n"),
              IsOkAndHolds(ElementsAre("text=#a#", "text=\"a\"")));
}

// Lines as editors, other formats of configurations and other programs write
// them.
TEST_F(FlagReaderTest, RefusesALineThatIsNeitherBlankNorACommentNorAFlag) {
  const struct {
    const char* line;
    const char* quoted;
  } kLines[] = {
      {"text=a", "text=a"},
      {"[server]", "[server]"},
      {"text a", "text a"},
      {"text: a", "text: a"},
      {"program*", "program*"},
      {"; a", "; a"},
      {"// a", "// a"},
      {"\\", "\\\\"},
      {"{", "{"},
      {"\xE2\x80\x93on", "\\xe2\\x80\\x93on"},
      {"\xC2\xA0--on", "\\xc2\\xa0--on"},
      {"\xEF\xBB\xBF--on", "\\xef\\xbb\\xbf--on"},
      {"\f--on", "\\x0c--on"},
      {"\x1b[2J", "\\x1b[2J"},
  };
  for (const auto& line : kLines) {
    ExpectRefused(absl::StrCat("--text=a\n\n", line.line, "\n--text=b\n"),
                  absl::StrCat("3: \"", line.quoted, "\"", kIsNotAFlagOfAFile));
  }
}

TEST_F(FlagReaderTest, NamesTheLineOfAWrongFlag) {
  ExpectRefused("--on\n--texts=a\n", absl::StrCat("2: --texts=a", kIsNotAFlag));
  ExpectRefused(" --texts=a", absl::StrCat("1: --texts=a", kIsNotAFlag));
  ExpectRefused("--text = a\n", absl::StrCat("1: --text = a", kIsNotAFlag));
  ExpectRefused("--text a\n", absl::StrCat("1: --text a", kIsNotAFlag));
  ExpectRefused("--on # a\n", absl::StrCat("1: --on # a", kIsNotAFlag));
  ExpectRefused("--\n", absl::StrCat("1: --", kIsNotAFlag));
  ExpectRefused("-\n", absl::StrCat("1: -", kIsNotAFlag));
  ExpectRefused("--text\n", "1: --text: has no value; write --text=VALUE");
  ExpectRefused("--text\na\n", "1: --text: has no value; write --text=VALUE");
  ExpectRefused("\n\n--on=perhaps\n", "3: --on=perhaps: must be true or false");
  ExpectRefused("--noon=false\n",
                "1: --noon=false: takes no value; write --on=true or "
                "--on=false");
  ExpectRefused("--text=a # b\n",
                "1: --text=a # b: a comment must have a line of its own");
  ExpectRefused("--text=a\t#\n",
                "1: --text=a\\t#: a comment must have a line of its own");
  ExpectRefused("--on\n--help\n",
                "2: --help: is allowed on the command line only");
  ExpectRefused("--check\n", "1: --check: is allowed on the command line only");
  ExpectRefused("--fromenv=a\n",
                "1: --fromenv: is not supported; write them into a file");
}

TEST_F(FlagReaderTest, NamesTheLineThatMakesAFileUnreadable) {
  ExpectRefused("--on\r\n# a\r--text=a\r\n",
                "2: a carriage return is not at the end of a line");
  ExpectRefused(absl::string_view("--on\n\n--text=\0", 14),
                "3: the line holds a NUL");
  ExpectRefused("\xEF\xBB\xBF--on\n",
                "1: the file begins with a byte order mark; save it as UTF-8 "
                "without one");
}

TEST_F(FlagReaderTest, ReadsFilesAtTheirPlaceSoThatTheLastFlagCounts) {
  Write("a", "--text=a\n\n--flagfile=" + Path("b") + "\n--text=c\n");
  Write("b", "--text=b\n");
  EXPECT_THAT(Flags({"--text=before", "--flagfile", Path("a") + "," + Path("b"),
                     "--text=after"}),
              IsOkAndHolds(ElementsAre(
                  "text=before", absl::StrCat("text=a at ", Path("a"), ":1"),
                  absl::StrCat("text=b at ", Path("b"), ":1"),
                  absl::StrCat("text=c at ", Path("a"), ":4"),
                  absl::StrCat("text=b at ", Path("b"), ":1"), "text=after")));
  Write("b", "\n\n--texts=b\n");
  EXPECT_THAT(Flags({"--flagfile=" + Path("a")}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat(Path("b"), ":3: --texts=b", kIsNotAFlag)));
}

TEST_F(FlagReaderTest, RefusesAFileThatCannotBeRead) {
  const auto refused = [](const std::string& name, const char* why) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    absl::StrCat("--flagfile=", name, ": ", why));
  };
  EXPECT_THAT(
      Flags({"--flagfile=/no/such"}),
      refused("/no/such", "cannot be opened: No such file or directory"));
  EXPECT_THAT(
      Flags({"--flagfile=/no/\n"}),
      refused("/no/\\n", "cannot be opened: No such file or directory"));
  EXPECT_THAT(
      Flags({"--flagfile=/dev/null,/no/such"}),
      refused("/no/such", "cannot be opened: No such file or directory"));
  EXPECT_THAT(Flags({"--flagfile=/proc/self/exe/a"}),
              refused("/proc/self/exe/a", "cannot be opened: Not a directory"));
  EXPECT_THAT(Flags({"--flagfile=" + directory_}),
              refused(directory_, "cannot be read: Is a directory"));
  ExpectRefused("--on\n--flagfile=/no/such\n",
                "2: --flagfile=/no/such: cannot be opened: No such file or "
                "directory");
  ExpectRefused(absl::StrCat("--flagfile=", directory_),
                absl::StrCat("1: --flagfile=", directory_,
                             ": cannot be read: Is a directory"));
  ExpectRefused("--flagfile=\n", "1: --flagfile=: must name a file");
  if (geteuid() == 0) return;  // who may read every file
  Write("secret", "--on\n");
  ASSERT_EQ(chmod(Path("secret").c_str(), 0), 0);
  EXPECT_THAT(Flags({"--flagfile=" + Path("secret")}),
              refused(Path("secret"), "cannot be opened: Permission denied"));
}

TEST_F(FlagReaderTest, RefusesAFileThatNamesItself) {
  constexpr char kItself[] =
      ": a file must not name itself, directly or through others";
  Write("a", "--on\n--flagfile=" + Path("./a"));
  EXPECT_THAT(Flags({"--flagfile=" + Path("a")}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat(Path("a"), ":2: --flagfile=", Path("./a"),
                                    kItself)));
  Write("a", "--flagfile=" + Path("b"));
  ASSERT_EQ(symlink("a", Path("link").c_str()), 0);
  Write("b", "--flagfile=" + Path("link"));
  EXPECT_THAT(Flags({"--flagfile=" + Path("a")}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat(Path("b"), ":1: --flagfile=", Path("link"),
                                    kItself)));
}

TEST_F(FlagReaderTest, RefusesFilesThatNameEachOtherTooDeep) {
  for (int i = 1; i < 9; ++i) {
    Write(absl::StrCat(i),
          absl::StrCat("--flagfile=", Path(absl::StrCat(i + 1))));
  }
  Write("9", "--on\n");
  EXPECT_THAT(
      Flags({"--flagfile=" + Path("2")}),
      IsOkAndHolds(ElementsAre(absl::StrCat("on=true at ", Path("9"), ":1"))));
  EXPECT_THAT(Flags({"--flagfile=" + Path("1")}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat(Path("8"), ":1: --flagfile=", Path("9"),
                                    ": files name each other more than 8 "
                                    "deep")));
}

// A pipe such as <(...) of a shell.
TEST_F(FlagReaderTest, ReadsAPipeOnceAndRepeatsItsFlags) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const auto output = net::UniqueFd::Adopt(ends[0]);
  auto input = net::UniqueFd::Adopt(ends[1]);
  Write("a", "--text=a\n");
  const std::string contents =
      "# flags\n --text=b c \n--flagfile=" + Path("a") + "\n--noon\n";
  ASSERT_EQ(write(input.fd(), contents.data(), contents.size()),
            static_cast<ssize_t>(contents.size()));
  input.Close();
  const std::string path = absl::StrCat("/dev/fd/", output.fd());
  const absl::StatusOr<GivenFlags> given = Read({"--on", "--flagfile=" + path});
  ASSERT_THAT(given, IsOk());
  ASSERT_EQ(given->flags.size(), 4u);
  EXPECT_EQ(given->flags[1].value, "b c");
  EXPECT_EQ(given->flags[1].where, path + ":2");
  EXPECT_THAT(
      given->arguments,
      ElementsAre("--on", "--text=b c", "--flagfile=" + Path("a"), "--noon"));
}

// An upgrade reads the file again, which may have changed by then.
TEST_F(FlagReaderTest, RepeatsTheNameOfARegularFileAndTheFlagsOfADescriptor) {
  Write("a", "--text=a\n--flagfile=" + Path("b") + "\n");
  Write("b", "--noon\n");
  const absl::StatusOr<GivenFlags> named =
      Read({"--on", "-flagfile", Path("a") + "," + Path("b"), "--text", "c",
            "--", "cat", "--on", "--", ""});
  ASSERT_THAT(named, IsOk());
  EXPECT_THAT(
      named->arguments,
      ElementsAre("--on", "--flagfile=" + Path("a"), "--flagfile=" + Path("b"),
                  "--text=c", "--", "cat", "--on", "--", ""));
  EXPECT_THAT(named->program, ElementsAre("cat", "--on", "--", ""));
  const auto file = net::UniqueFd::Adopt(memfd_create("flags", MFD_CLOEXEC));
  ASSERT_EQ(write(file.fd(), "--on\n", 5), 5);
  const absl::StatusOr<GivenFlags> numbered =
      Read({absl::StrCat("--flagfile=/proc/self/fd/", file.fd())});
  ASSERT_THAT(numbered, IsOk());
  EXPECT_THAT(numbered->arguments, ElementsAre("--on"));
}

TEST_F(FlagReaderTest, DoesNotWaitForAPipeThatAFileNames) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  for (const std::string& path :
       {Path("pipe"), std::string("/dev/null"), std::string("/dev/stdin")}) {
    EXPECT_THAT(
        FlagsOfFile("--flagfile=" + path),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr(absl::StrCat(
                     ":1: --flagfile=", path,
                     ": must be a regular file outside /dev and /proc"))));
  }
}

}  // namespace
}  // namespace brood::server

#include "brood/server/command_line/flagfile.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gflags/gflags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

DEFINE_string(text, "", "any");
DEFINE_bool(on, false, "true or false");

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CheckFlagsTest : public ::brood::testing::LeakCheck {
 protected:
  static absl::Status CheckedAll(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "program");
    return CheckFlags(static_cast<int>(arguments.size()), arguments.data());
  }
  static absl::Status Checked(const std::string& argument) {
    return CheckedAll({argument.c_str()});
  }
  // Of a --flagfile with `contents`.
  static absl::Status CheckedFile(absl::string_view contents) {
    const int file = memfd_create("flags", MFD_CLOEXEC);
    EXPECT_EQ(write(file, contents.data(), contents.size()),
              static_cast<ssize_t>(contents.size()));
    absl::Status checked =
        Checked(absl::StrCat("--flagfile=/proc/self/fd/", file));
    close(file);
    return checked;
  }
};

TEST_F(CheckFlagsTest, LetsFlagsPass) {
  for (const char* argument :
       {"--text=a", "-text=", "--on", "--noon", "--on=false", "--on=1"}) {
    EXPECT_THAT(Checked(argument), IsOk()) << argument;
    EXPECT_THAT(CheckedFile(argument), IsOk()) << argument;
  }
  EXPECT_THAT(CheckedFile("# why\n\n  --text=a\nprogram*\n--on\n"), IsOk());
  EXPECT_THAT(CheckedFile("--text=a\r\n\r\n--on\r\n"), IsOk());
}

TEST_F(CheckFlagsTest, NamesWhatIsNoFlagAndItsFile) {
  EXPECT_THAT(Checked("--texts=a"), StatusIs(absl::StatusCode::kInvalidArgument,
                                             StartsWith("--texts=a is not")));
  EXPECT_THAT(CheckedFile("--on\n--texts=a\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(StartsWith("--texts=a is not"),
                             HasSubstr("(in /proc/self/fd/"))));
  EXPECT_THAT(CheckedFile("  --texts=a\n"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Checked("--notext"), StatusIs(absl::StatusCode::kInvalidArgument,
                                            StartsWith("--notext is not")));
  EXPECT_THAT(Checked("--on=perhaps"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "--on=perhaps: must be true or false"));
}

TEST_F(CheckFlagsTest, LooksAtEachArgumentUpToOneThatIsNoFlag) {
  EXPECT_THAT(CheckedAll({"--text", "--value", "--on"}), IsOk());
  EXPECT_THAT(CheckedAll({"--text", "--value", "--texts"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("--texts is not")));
  EXPECT_THAT(CheckedAll({"--on", "--", "--texts"}), IsOk());
  EXPECT_THAT(CheckedAll({"--on", "word", "--texts"}), IsOk());
  EXPECT_THAT(CheckedAll({"--text"}), IsOk()) << "gflags says it well";
}

TEST_F(CheckFlagsTest, LooksIntoEachFileThatIsNamed) {
  const int file = memfd_create("flags", MFD_CLOEXEC);
  const std::string path = absl::StrCat("/proc/self/fd/", file);
  const std::string itself = "--flagfile=" + path;
  for (const std::string& contents : {std::string("--texts=a"), itself}) {
    ASSERT_EQ(ftruncate(file, 0), 0);
    ASSERT_EQ(pwrite(file, contents.data(), contents.size(), 0),
              static_cast<ssize_t>(contents.size()));
    const auto refused =
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(StartsWith(contents == itself
                                      ? "flagfile=" + path + ": files name"
                                      : "--texts=a is not"),
                       HasSubstr("(in " + path + ")")));
    EXPECT_THAT(CheckedAll({itself.c_str()}), refused);
    EXPECT_THAT(CheckedAll({"--flagfile", path.c_str()}), refused);
    EXPECT_THAT(Checked("--flagfile=/dev/null," + path), refused);
  }
  close(file);
}

// The fuzzer's first finds: gflags skips each of these without a word, or takes
// two lines for one.
TEST_F(CheckFlagsTest, RefusesAFileThatGflagsReadsInAnotherWay) {
  const struct {
    absl::string_view contents;
    const char* why;
  } kMisread[] = {
      {"--text\n", "--text: the value must be in the same line"},
      {"--on \n", "--on  is not a flag"},
      {"--on=true \n", "--on=true : must be true or false"},
      {absl::string_view("\0\n--text=a\n", 11), "it holds a NUL"},
      {absl::string_view("--text\0s=a\n", 11), "it holds a NUL"},
      {"--text=a\r--on\n", "a carriage return must be at the end"},
      {"--text=a\n--on\r\n", "a carriage return must be at the end"},
      {"--text=a\r\n--on\n", "a carriage return must be at the end"},
      {"--text=a\r\n\r--on\n", "a carriage return must be at the end"},
  };
  for (const auto& misread : kMisread) {
    EXPECT_THAT(
        CheckedFile(misread.contents),
        StatusIs(absl::StatusCode::kInvalidArgument, StartsWith(misread.why)));
  }
}

TEST_F(CheckFlagsTest, QuotesNoControlCharacterAsItIs) {
  EXPECT_THAT(Checked("--\n"), StatusIs(absl::StatusCode::kInvalidArgument,
                                        StartsWith("--\\n is not a flag")));
  EXPECT_THAT(Checked("--flagfile=/no/\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "flagfile=/no/\\n: can't be read"));
}

}  // namespace
}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/flagfile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "brood/net/unique_fd.h"

namespace brood::server {
namespace {

constexpr absl::string_view kWhiteSpace = " \t";

absl::string_view WithoutWhiteSpaceAround(absl::string_view text) {
  const size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == absl::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

}  // namespace

absl::StatusOr<Flagfile> ReadFlagfile(const std::string& path, bool must_last) {
  // A pipe without a writer would block the call.
  const int wait = must_last ? O_NONBLOCK : 0;
  const auto file = net::UniqueFd::Adopt(TEMP_FAILURE_RETRY(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | wait)));
  if (!file.valid()) return absl::ErrnoToStatus(errno, "cannot be opened");
  struct stat status;
  if (fstat(file.fd(), &status) < 0) {
    return absl::ErrnoToStatus(errno, "cannot be examined");
  }
  Flagfile read;
  // The number of a descriptor may mean another file, or none, to the program
  // that an upgrade starts.
  read.is_lasting = S_ISREG(status.st_mode) &&
                    !absl::StartsWith(path, "/dev/") &&
                    !absl::StartsWith(path, "/proc/");
  read.id = {status.st_dev, status.st_ino};
  if (must_last && !read.is_lasting && !S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(
        "must be a regular file outside /dev and /proc, since a file names it "
        "and an upgrade reads that file again");
  }
  char block[4096];
  ssize_t size;
  while ((size = TEMP_FAILURE_RETRY(::read(file.fd(), block, sizeof(block)))) >
         0) {
    read.contents.append(block, static_cast<size_t>(size));
    if (read.contents.size() > kLargestFlagfile) {
      return absl::InvalidArgumentError(
          absl::StrCat("has more than ", kLargestFlagfile, " bytes"));
    }
  }
  if (size < 0) return absl::ErrnoToStatus(errno, "cannot be read");
  return read;
}

absl::Status CheckEncoding(absl::string_view contents) {
  if (absl::StartsWith(contents, "\xEF\xBB\xBF")) {
    return absl::InvalidArgumentError(
        "the file begins with a byte order mark; save it as UTF-8 without one");
  }
  if (absl::StartsWith(contents, "\xFF\xFE") ||
      absl::StartsWith(contents, "\xFE\xFF")) {
    return absl::InvalidArgumentError(
        "the file is UTF-16; save it as UTF-8 without a byte order mark");
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> FlagInLine(absl::string_view line,
                                             bool is_ended) {
  if (is_ended) absl::ConsumeSuffix(&line, "\r");
  if (absl::StrContains(line, '\0')) {
    return absl::InvalidArgumentError("the line holds a NUL");
  }
  if (absl::StrContains(line, '\r')) {
    return absl::InvalidArgumentError(
        "a carriage return is not at the end of a line");
  }
  line = WithoutWhiteSpaceAround(line);
  return absl::StartsWith(line, "#") ? absl::string_view() : line;
}

}  // namespace brood::server

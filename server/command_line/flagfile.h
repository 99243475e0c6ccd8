// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_COMMAND_LINE_FLAGFILE_H_
#define BROOD_SERVER_COMMAND_LINE_FLAGFILE_H_

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::server {

// Flagfile is the contents of a file of flags.
//
// A value. The file may be a pipe or a terminal, so it is opened and read once,
// to its end.
//
// Example:
//   absl::StatusOr<Flagfile> file =
//       ReadFlagfile("/etc/echo.flags", /*must_last=*/false);
//   if (!file.ok()) return file.status();
//   absl::Status readable = CheckEncoding(file->contents);
struct Flagfile {
  std::string contents;

  // Whether a program that is started later finds the flags at the same path:
  // the file is regular, and is not named by a descriptor.
  bool is_lasting = false;

  // Identifies the file, by its device and inode.
  std::pair<dev_t, ino_t> id;
};

// The size of the largest file that is read.
inline constexpr size_t kLargestFlagfile = 1 << 20;

// Reads the file at `path`. Waits for the writer of a pipe, unless `must_last`,
// which demands a file that is lasting. Returns the error of the system call,
// or InvalidArgument if the file has more than kLargestFlagfile bytes, or is
// not lasting although it must be. The message does not name the file.
absl::StatusOr<Flagfile> ReadFlagfile(const std::string& path, bool must_last);

// Returns InvalidArgument if `contents` begins with a byte order mark.
absl::Status CheckEncoding(absl::string_view contents);

// Returns the flag in `line`, without the white space around it, or an empty
// text if the line is blank or a comment. `is_ended` reports whether a newline
// follows the line. Returns InvalidArgument if the line holds a NUL, or a
// carriage return that is not a part of its end.
absl::StatusOr<absl::string_view> FlagInLine(absl::string_view line,
                                             bool is_ended);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_FLAGFILE_H_

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/journal.h"

#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"

namespace brood::server {

bool IsJournal(int fd) {
  const char* const stream = getenv("JOURNAL_STREAM");
  struct stat file;
  if (stream == nullptr || fstat(fd, &file) < 0) return false;
  return absl::StrCat(file.st_dev, ":", file.st_ino) == stream;
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/short_dir.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace brood::testing {

ShortDir::ShortDir() : path_("/tmp/brood.XXXXXX") {
  if (mkdtemp(&path_[0]) == nullptr) std::abort();
}

ShortDir::~ShortDir() {
  if (DIR* dir = opendir(path_.c_str())) {
    while (const dirent* entry = readdir(dir)) {
      unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
  }
  rmdir(path_.c_str());
}

std::string ShortDir::File(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

net::Endpoint ShortDir::Socket(absl::string_view name) const {
  return *net::Endpoint::Parse(absl::StrCat("unix:", File(name)));
}

}  // namespace brood::testing

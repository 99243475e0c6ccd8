#include "brood/proc/child.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace brood::proc {

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    AbortIfUnreaped();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

absl::Status Child::Signal(int signal) const {
  if (pid_ == 0) {
    return absl::FailedPreconditionError("kill: this child was reaped");
  }
  if (kill(pid_, signal) == 0) return absl::OkStatus();
  const int error = errno;
  return absl::ErrnoToStatus(error,
                             absl::StrCat("kill ", pid_, " signal ", signal));
}

void Child::AbortIfUnreaped() const {
  if (pid_ == 0) return;
  std::fprintf(stderr, "brood: child %d was dropped before it was reaped\n",
               static_cast<int>(pid_));
  std::abort();
}

}  // namespace brood::proc

#include "brood/server/stop_signals.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <utility>
#include <vector>

#include "brood/proc/hidden_fds.h"
#include "brood/proc/signals.h"

namespace brood::server {
namespace {

// Guards who has joined, and the making of the one Shared there is.
std::mutex& Mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace

struct StopSignals::Shared {
  explicit Shared(proc::SignalInbox signals)
      : inbox(std::move(signals)), hidden(inbox.fd()) {}

  proc::SignalInbox inbox;
  proc::HiddenFd hidden;
  std::vector<int> drain_request_fds;
};

absl::StatusOr<StopSignals> StopSignals::Join(int drain_request_fd) {
  static auto* const all = new std::weak_ptr<Shared>;
  const std::lock_guard<std::mutex> lock(Mutex());
  std::shared_ptr<Shared> shared = all->lock();
  if (shared == nullptr) {
    absl::StatusOr<proc::SignalInbox> inbox =
        proc::SignalInbox::Create({SIGTERM, SIGINT, SIGHUP, SIGUSR2});
    if (!inbox.ok()) return inbox.status();
    shared = std::make_shared<Shared>(*std::move(inbox));
    *all = shared;
  }
  shared->drain_request_fds.push_back(drain_request_fd);
  return StopSignals(std::move(shared), drain_request_fd);
}

StopSignals::StopSignals(std::shared_ptr<Shared> shared, int drain_request_fd)
    : shared_(std::move(shared)), drain_request_fd_(drain_request_fd) {}

StopSignals::~StopSignals() {
  if (shared_ == nullptr) return;  // moved away
  const std::lock_guard<std::mutex> lock(Mutex());
  std::vector<int>& fds = shared_->drain_request_fds;
  fds.erase(std::find(fds.begin(), fds.end(), drain_request_fd_));
  shared_.reset();
}

int StopSignals::fd() const { return shared_->inbox.fd(); }

absl::optional<int> StopSignals::TryTake() {
  while (const absl::optional<siginfo_t> taken = shared_->inbox.TryTake()) {
    if (taken->si_signo != SIGTERM && taken->si_signo != SIGINT) {
      return taken->si_signo;
    }
    const std::lock_guard<std::mutex> lock(Mutex());
    for (int fd : shared_->drain_request_fds) eventfd_write(fd, 1);
  }
  return absl::nullopt;
}

}  // namespace brood::server

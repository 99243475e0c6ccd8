#include "brood/server/control/request_signals.h"

#include <algorithm>
#include <csignal>
#include <initializer_list>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/types/optional.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/signals.h"

namespace brood::server {
namespace {

constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP,
                                                 SIGUSR2};

// Guards who has joined, and the making of the one Shared there is.
std::mutex& Mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace

struct RequestSignals::Shared {
  explicit Shared(proc::SignalInbox signals) : inbox(std::move(signals)) {}

  const proc::Private<proc::SignalInbox> inbox;
  std::vector<const Requests*> everyone;
};

void RequestSignals::BlockForGood() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : kSignals) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
}

absl::StatusOr<RequestSignals> RequestSignals::Join(const Requests* requests) {
  static auto* const all = new std::weak_ptr<Shared>;
  const std::lock_guard<std::mutex> lock(Mutex());
  std::shared_ptr<Shared> shared = all->lock();
  if (shared == nullptr) {
    absl::StatusOr<proc::SignalInbox> inbox =
        proc::SignalInbox::Create(kSignals);
    if (!inbox.ok()) return inbox.status();
    shared = std::make_shared<Shared>(*std::move(inbox));
    *all = shared;
  }
  shared->everyone.push_back(requests);
  return RequestSignals(std::move(shared), requests);
}

RequestSignals::RequestSignals(std::shared_ptr<Shared> shared,
                               const Requests* requests)
    : shared_(std::move(shared)), requests_(requests) {}

RequestSignals::~RequestSignals() {
  if (shared_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(Mutex());
  std::vector<const Requests*>& everyone = shared_->everyone;
  everyone.erase(std::find(everyone.begin(), everyone.end(), requests_));
  shared_.reset();
}

int RequestSignals::fd() const {
  return shared_ == nullptr ? -1 : shared_->inbox.fd();
}

void RequestSignals::Forward() const {
  while (const absl::optional<siginfo_t> taken = shared_->inbox->TryTake()) {
    const bool stop = taken->si_signo == SIGTERM || taken->si_signo == SIGINT;
    const std::lock_guard<std::mutex> lock(Mutex());
    for (const Requests* requests : shared_->everyone) {
      stop ? requests->AskToDrain() : requests->AskToUpgrade();
    }
  }
}

}  // namespace brood::server

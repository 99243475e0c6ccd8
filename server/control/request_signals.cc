// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/request_signals.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "brood/net/event_fd.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/private_fds.h"

namespace brood::server {
namespace {

// Meaning is a signal, and whether it requests an upgrade and not a stop.
struct Meaning {
  int signal;
  bool upgrade;
};
constexpr std::array<Meaning, 4> kSignals = {{
    {SIGTERM, false},
    {SIGINT, false},
    {SIGHUP, true},
    {SIGUSR2, true},
}};

// The state that the signal handler uses, which may run in any thread, at any
// moment.

// The process that installed the handler.
std::atomic<pid_t> owner{0};
// The bits of the signals that came; see BitOf().
std::atomic<uint32_t> arrived{0};
// The descriptor to notify.
std::atomic<int> doorbell{-1};
// The number of handlers that are running.
std::atomic<int> running{0};

// Sender is what sent a signal.
enum Sender { kProcess, kKernel };

// Returns the bit of the signal `index` of kSignals: first the signals that
// processes have sent, then those that the kernel has sent.
uint32_t BitOf(size_t index, Sender sender) {
  return uint32_t{1} << (index + (sender == kKernel ? kSignals.size() : 0));
}

// Handles a signal. A signal is sent to a process once, and is for every server
// of it. So the handler sets one bit for all servers, and the server whose loop
// sees the bit first passes the request to each of them. In a process that was
// forked since the handler was installed, the signal has the effect that it
// would have without the handler; it is blocked until the handler returns.
void OnSignal(int signal, siginfo_t* info, void* /*context*/) {
  const int saved_errno = errno;
  if (getpid() != owner) {
    std::signal(signal, SIG_DFL);
    raise(signal);
    errno = saved_errno;
    return;
  }
  ++running;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i].signal != signal) continue;
    arrived |= BitOf(i, info->si_code == SI_KERNEL ? kKernel : kProcess);
  }
  const int fd = doorbell;
  // If the counter is full, the descriptor is readable already.
  if (fd >= 0) eventfd_write(fd, 1);
  --running;
  errno = saved_errno;
}

// Blocks or unblocks one signal in this thread: `how` is SIG_BLOCK or
// SIG_UNBLOCK. Returns 1 if it was blocked before and 0 if not, or -1 with
// errno.
int ChangeMask(int how, int signal) {
  sigset_t one, before;
  sigemptyset(&one);
  sigaddset(&one, signal);
  if (sigprocmask(how, &one, &before) < 0) return -1;
  return sigismember(&before, signal);
}

// Returns the mutex that guards the list of servers, and the one Shared of this
// process.
std::mutex& Mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace

// Shared is the state that the servers of this process have in common. Mutex()
// guards it.
class RequestSignals::Shared {
 public:
  explicit Shared(net::EventFd event) : event_(std::move(event)) {
    owner = getpid();
    doorbell = event_.fd();
  }
  ~Shared();

  // Returns whether this process created the object. If not, this process was
  // forked since.
  static bool IsOurs() { return getpid() == owner; }
  // Restores the signals in a process that was forked since the object was
  // created, and does not touch the servers of the parent.
  void Abandon();

  int fd() const { return event_.fd(); }
  absl::Status Add(const Requests* requests, Use use);
  void Remove(const Requests* requests, Use use);
  void Forward();

 private:
  // Taken is what must be restored for a signal that was taken.
  struct Taken {
    int users = 0;
    bool is_handled = false;
    bool was_blocked = false;
    struct sigaction action = {};
  };

  absl::Status Take(size_t index);
  void GiveBack(size_t index);

  // Requests a stop or, with `upgrade`, an upgrade of each server.
  void RequestOfEach(bool upgrade) const;

  const proc::Private<net::EventFd> event_;
  // Whether the process had a controlling terminal when it took the signals.
  const bool had_terminal_ = HasTerminal();
  // Whether a stop was requested because the terminal is gone.
  bool stops_with_terminal_ = false;
  std::vector<const Requests*> joined_;
  std::array<Taken, kSignals.size()> taken_;
};

// Waits for handlers in other threads, which may still use the descriptor.
RequestSignals::Shared::~Shared() {
  doorbell = -1;
  while (running != 0) sched_yield();
}

void RequestSignals::Shared::Abandon() {
  arrived = 0;
  running = 0;  // handlers in threads that fork did not copy
  for (size_t i = 0; i < kSignals.size(); ++i) GiveBack(i);
}

absl::Status RequestSignals::Shared::Add(const Requests* requests, Use use) {
  absl::Status taken;
  joined_.push_back(requests);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i].upgrade && use == kStop) continue;
    if (taken_[i].users++ == 0 && taken.ok()) taken = Take(i);
  }
  if (!taken.ok()) Remove(requests, use);
  return taken;
}

void RequestSignals::Shared::Remove(const Requests* requests, Use use) {
  joined_.erase(std::find(joined_.begin(), joined_.end(), requests));
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i].upgrade && use == kStop) continue;
    if (--taken_[i].users == 0) GiveBack(i);
  }
}

// Sets the handler before the mask: a signal that is pending because it was
// blocked is then handled.
absl::Status RequestSignals::Shared::Take(size_t index) {
  const int signal = kSignals[index].signal;
  Taken& taken = taken_[index];
  if (sigaction(signal, nullptr, &taken.action) < 0) {
    return absl::ErrnoToStatus(errno, "sigaction");
  }
  if (taken.action.sa_handler == SIG_IGN) return absl::OkStatus();
  struct sigaction action = {};
  action.sa_sigaction = OnSignal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  if (sigaction(signal, &action, nullptr) < 0) {
    return absl::ErrnoToStatus(errno, "sigaction");
  }
  taken.is_handled = true;
  const int was_blocked = ChangeMask(SIG_UNBLOCK, signal);
  if (was_blocked < 0) return absl::ErrnoToStatus(errno, "sigprocmask");
  taken.was_blocked = was_blocked == 1;
  return absl::OkStatus();
}

// Undoes Take() in the opposite order. A signal that came, and that no server
// has passed on, is raised for whatever handles it from now on.
void RequestSignals::Shared::GiveBack(size_t index) {
  const int signal = kSignals[index].signal;
  Taken& taken = taken_[index];
  if (!taken.is_handled) return;
  if (taken.was_blocked) ChangeMask(SIG_BLOCK, signal);
  sigaction(signal, &taken.action, nullptr);
  taken = Taken();
  const uint32_t bits = BitOf(index, kProcess) | BitOf(index, kKernel);
  if ((arrived.fetch_and(~bits) & bits) != 0) raise(signal);
}

// SIGHUP has three possible senders: an operator, who wants an upgrade; the
// kernel, when the terminal of the process is gone; and the shell of that
// terminal, which passes the signal of the kernel on to its jobs. If the kernel
// or the shell has sent it, or both, the server stops, as every program does
// when its terminal is gone.
void RequestSignals::Shared::Forward() {
  event_->Take();
  const uint32_t bits = arrived.exchange(0);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    const auto& [signal, upgrade] = kSignals[i];
    const bool by_process = (bits & BitOf(i, kProcess)) != 0;
    const bool by_kernel = (bits & BitOf(i, kKernel)) != 0;
    if (signal == SIGHUP &&
        (by_kernel || (by_process && had_terminal_ && !HasTerminal()))) {
      if (!std::exchange(stops_with_terminal_, true)) {
        RequestOfEach(/*upgrade=*/false);
      }
    } else if (by_process || by_kernel) {
      RequestOfEach(upgrade);
    }
  }
}

void RequestSignals::Shared::RequestOfEach(bool upgrade) const {
  for (const Requests* requests : joined_) {
    upgrade ? requests->RequestUpgrade() : requests->RequestStop();
  }
}

bool RequestSignals::HasTerminal() {
  const net::UniqueFd terminal = net::UniqueFd::Adopt(
      open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  return terminal.valid();
}

absl::Status RequestSignals::BlockAlone() {
  sigset_t all;
  sigemptyset(&all);
  for (const Meaning& each : kSignals) sigaddset(&all, each.signal);
  if (sigprocmask(SIG_SETMASK, &all, nullptr) < 0) {
    return absl::ErrnoToStatus(errno, "sigprocmask");
  }
  return absl::OkStatus();
}

absl::StatusOr<RequestSignals> RequestSignals::Join(const Requests* requests,
                                                    Use use) {
  static auto* const all = new std::weak_ptr<Shared>;
  const std::lock_guard<std::mutex> lock(Mutex());
  std::shared_ptr<Shared> shared = all->lock();
  if (shared != nullptr && !Shared::IsOurs()) {
    shared->Abandon();
    shared = nullptr;
  }
  if (shared == nullptr) {
    absl::StatusOr<net::EventFd> event = net::EventFd::Create();
    if (!event.ok()) return event.status();
    shared = std::make_shared<Shared>(*std::move(event));
    *all = shared;
  }
  absl::Status added = shared->Add(requests, use);
  if (!added.ok()) return added;
  return RequestSignals(std::move(shared), requests, use);
}

RequestSignals::RequestSignals(std::shared_ptr<Shared> shared,
                               const Requests* requests, Use use)
    : shared_(std::move(shared)), requests_(requests), use_(use) {}

RequestSignals::~RequestSignals() {
  if (shared_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(Mutex());
  shared_->Remove(requests_, use_);
  shared_.reset();
}

bool RequestSignals::IsWaiting() const {
  return shared_ != nullptr && arrived != 0;
}

int RequestSignals::fd() const {
  return shared_ == nullptr ? -1 : shared_->fd();
}

void RequestSignals::Forward() const {
  if (shared_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(Mutex());
  shared_->Forward();
}

}  // namespace brood::server

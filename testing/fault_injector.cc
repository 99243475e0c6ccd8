// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/fault_injector.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): for std::condition_variable.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace brood::testing {
namespace {

// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19; not in every header.
constexpr unsigned kWaitKillable = 1U << 5;

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "which AUDIT_ARCH_ is this?"
#endif

void AbortUnless(bool fine, const char* what) {
  if (fine) return;
  std::fprintf(stderr, "fault injector: %s: %s\n", what, strerror(errno));
  std::abort();
}

// Returns `number`, or kFork for each call that creates a process.
int CallOf(int number) { return number == SYS_clone ? SYS_clone3 : number; }

std::vector<sock_filter> FilterFor(const std::vector<int>& numbers) {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (int number : numbers) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                              static_cast<uint32_t>(number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return filter;
}

// A message with room for one descriptor; the message is the pid of its sender.
struct Envelope {
  Envelope() {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
  }

  pid_t pid = 0;
  iovec part = {&pid, sizeof(pid)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
};

bool SendListener(int socket, int listener) {
  Envelope envelope;
  envelope.pid = getpid();
  cmsghdr* header = CMSG_FIRSTHDR(&envelope.message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &listener, sizeof(listener));
  return TEMP_FAILURE_RETRY(sendmsg(socket, &envelope.message, 0)) ==
         sizeof(envelope.pid);
}

}  // namespace

// Without a filter the kernel checks the flags and installs nothing. EFAULT
// means that it supports the flags.
absl::Status FaultInjector::Supported() {
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
          SECCOMP_FILTER_FLAG_NEW_LISTENER | kWaitKillable, nullptr);
  if (errno == EFAULT) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("seccomp user notification: ", strerror(errno)));
}

FaultInjector::FaultInjector(const std::vector<int>& calls) {
  for (int call : calls) calls_[call];
  int ends[2];
  AbortUnless(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0,
              "socketpair");
  receiver_fd_ = ends[0];
  sender_fd_ = ends[1];
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  AbortUnless(stop_fd_ >= 0, "eventfd");
  // Starts before the server process, whose calls would otherwise wait for an
  // answer while the test waits for the server.
  thread_ = std::thread([this] { Answer(); });
  // A thread that is just starting holds locks (of a sanitizer, of the heap),
  // which the server process, forked from this one, would inherit locked.
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return waiting_; });
}

FaultInjector::~FaultInjector() {
  eventfd_write(stop_fd_, 1);
  thread_.join();
  for (int fd : {sender_fd_, receiver_fd_, stop_fd_, listener_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void FaultInjector::Install() {
  std::vector<int> numbers;
  for (const auto& [call, unused] : calls_) {
    numbers.push_back(call);
    if (call == kFork) numbers.push_back(SYS_clone);
  }
  std::vector<sock_filter> filter = FilterFor(numbers);
  const sock_fprog program = {static_cast<uint16_t>(filter.size()),
                              filter.data()};
  AbortUnless(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0,
              "PR_SET_NO_NEW_PRIVS");
  // kWaitKillable: a call that was received must not be interrupted. Its answer
  // would be lost, although the kernel reports that it was delivered.
  const int listener = static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
              SECCOMP_FILTER_FLAG_NEW_LISTENER | kWaitKillable, &program));
  AbortUnless(listener >= 0, "seccomp user notification");
  AbortUnless(SendListener(sender_fd_, listener), "sendmsg");
  // The test process keeps its own copies.
  for (int fd : {listener, sender_fd_, receiver_fd_, stop_fd_}) close(fd);
}

void FaultInjector::AimAt(pid_t pid) {
  const std::lock_guard<std::mutex> lock(mutex_);
  target_ = pid;
}

void FaultInjector::Fail(int call, int error, int64_t first, int64_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  calls_.at(call).script.push_back({error, first - 1, count});
}

void FaultInjector::FailAlways(int call, int error) {
  Fail(call, error, 1, INT64_MAX);
}

void FaultInjector::Relieve(int call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  calls_.at(call).script.clear();
}

int64_t FaultInjector::calls(int call) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return calls_.at(call).calls;
}

int64_t FaultInjector::failed(int call) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return calls_.at(call).failed;
}

absl::Status FaultInjector::AwaitCalls(int call, int64_t count,
                                       absl::Duration timeout) const {
  std::unique_lock<std::mutex> lock(mutex_);
  const Call& counted = calls_.at(call);
  if (changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                        [&] { return counted.calls >= count; })) {
    return absl::OkStatus();
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "system call ", call, ": ", counted.calls, " of ", count, " calls"));
}

void FaultInjector::Answer() {
  if (!AwaitListener()) return;
  while (AwaitQuestion()) AnswerOne();
}

bool FaultInjector::AwaitListener() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_ = true;
  }
  changed_.notify_all();
  pollfd waiting[] = {{receiver_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
  TEMP_FAILURE_RETRY(poll(waiting, 2, -1));
  if (waiting[1].revents != 0) return false;
  Envelope envelope;
  if (TEMP_FAILURE_RETRY(recvmsg(receiver_fd_, &envelope.message,
                                 MSG_CMSG_CLOEXEC)) != sizeof(envelope.pid)) {
    return false;
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&envelope.message);
  if (header == nullptr) return false;
  std::memcpy(&listener_fd_, CMSG_DATA(header), sizeof(listener_fd_));
  const std::lock_guard<std::mutex> lock(mutex_);
  target_ = envelope.pid;
  return true;
}

bool FaultInjector::AwaitQuestion() {
  pollfd waiting[] = {{listener_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
  TEMP_FAILURE_RETRY(poll(waiting, 2, -1));
  return waiting[1].revents == 0 && (waiting[0].revents & POLLIN) != 0;
}

void FaultInjector::AnswerOne() {
  // The kernel refuses a structure that is not zeroed.
  seccomp_notif question = {};
  if (ioctl(listener_fd_, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0) return;

  // The call is counted before it is answered, so a test that sees an effect of
  // the call sees it counted. The count is undone if the calling thread was
  // interrupted and did not wait for the answer: the call will be repeated.
  const std::lock_guard<std::mutex> lock(mutex_);
  Call before;
  const auto call = calls_.find(CallOf(question.data.nr));
  if (call != calls_.end()) before = call->second;

  seccomp_notif_resp answer = {};
  answer.id = question.id;
  answer.error = -Decide(question);
  if (answer.error == 0) answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  if (ioctl(listener_fd_, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0) {
    if (call != calls_.end()) call->second = before;
    return;
  }
  changed_.notify_all();
}

int FaultInjector::Decide(const seccomp_notif& question) {
  const auto found = calls_.find(CallOf(question.data.nr));
  if (found == calls_.end()) return 0;
  if (static_cast<pid_t>(question.pid) != target_) {
    return 0;
  }
  Call& call = found->second;
  ++call.calls;
  if (call.script.empty()) return 0;
  Fault& next = call.script.front();
  if (next.pass > 0) {
    --next.pass;
    return 0;
  }
  const int error = next.error;
  ++call.failed;
  if (--next.fail == 0) call.script.erase(call.script.begin());
  return error;
}

}  // namespace brood::testing

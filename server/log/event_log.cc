#include "brood/server/log/event_log.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include "brood/server/handler.h"

namespace brood::server {
namespace {

// Short enough for a pipe to take a line whole or not at all.
constexpr size_t kLineSize = 1024;

// The text of an endpoint or of an address, for the length of one expression.
template <typename Address>
class Text {
 public:
  explicit Text(const Address& address) { address.Print(text_); }
  const char* c_str() const { return text_; }

 private:
  char text_[Address::kTextSize];
};

double Seconds(absl::Duration duration) {
  return absl::ToDoubleSeconds(duration);
}

}  // namespace

struct EventLog::SharedCounts {
  std::atomic<uint64_t> dropped{0};
  std::atomic<uint64_t> dropped_and_not_said{0};

  // In memory that children share, if they log at all, so that a line that is
  // lost in a child counts too. If not, they do without: each fork and each
  // exit would have to take the lock of a shared mapping.
  static SharedCounts* Create(bool children_log) {
    void* memory =
        mmap(nullptr, sizeof(SharedCounts), PROT_READ | PROT_WRITE,
             MAP_ANONYMOUS | (children_log ? MAP_SHARED : MAP_PRIVATE), -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    if (!children_log) madvise(memory, sizeof(SharedCounts), MADV_DONTFORK);
    return new (memory) SharedCounts;
  }
};

EventLog::EventLog(LogLevel level)
    : level_(level),
      writer_(STDERR_FILENO),
      private_fd_(writer_.own_fd()),
      shared_(SharedCounts::Create(level == LogLevel::kInfo)) {}

EventLog::~EventLog() { munmap(shared_, sizeof(SharedCounts)); }

void EventLog::Listening(const net::Endpoint& endpoint) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo, "listening on %s", Text(endpoint).c_str());
}

void EventLog::NotNamed(int fd, const net::Endpoint& endpoint) {
  if (!Wants(LogLevel::kWarning)) return;
  Write(writer_, LogLevel::kWarning,
        "descriptor %d listens on %s, which --listen does not name: closed", fd,
        Text(endpoint).c_str());
}

void EventLog::ExitQueueShort(uint64_t limit, size_t cap) {
  if (!Wants(LogLevel::kWarning)) return;
  Write(writer_, LogLevel::kWarning,
        "the limit of pending signals (ulimit -i %llu) is below the cap of %zu "
        "connections: when many end at once, some are found late",
        static_cast<unsigned long long>(limit), cap);
}

void EventLog::NotTold(absl::string_view words, const absl::Status& why) {
  if (!Wants(LogLevel::kWarning)) return;
  const absl::string_view reason = why.message();
  words = words.substr(0, words.find('\n'));
  Write(writer_, LogLevel::kWarning,
        "the service manager was not told %.*s: %.*s",
        static_cast<int>(words.size()), words.data(),
        static_cast<int>(reason.size()), reason.data());
}

void EventLog::Draining(size_t running, absl::Duration grace) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo,
        "draining: %zu running, to be terminated in %.1f s", running,
        Seconds(grace));
}

void EventLog::Terminating(size_t running) {
  if (!Wants(LogLevel::kWarning)) return;
  Write(writer_, LogLevel::kWarning, "terminating %zu children", running);
}

void EventLog::Killing(size_t running) {
  if (!Wants(LogLevel::kWarning)) return;
  Write(writer_, LogLevel::kWarning, "killing %zu children", running);
}

void EventLog::Stopped(const Totals& totals) {
  const LogLevel level = totals.Balanced() ? LogLevel::kInfo : LogLevel::kError;
  if (!Wants(level)) return;
  Write(writer_, level,
        "stopped%s: accepted %llu = running %llu + ended_ok %llu + ended_error "
        "%llu + crashed %llu + killed %llu + unknown %llu + shed %llu + "
        "fork_failed %llu; log lines dropped %llu",
        totals.Balanced() ? "" : ", UNBALANCED",
        static_cast<unsigned long long>(totals.accepted),
        static_cast<unsigned long long>(totals.running),
        static_cast<unsigned long long>(totals.ended_ok),
        static_cast<unsigned long long>(totals.ended_error),
        static_cast<unsigned long long>(totals.crashed),
        static_cast<unsigned long long>(totals.killed),
        static_cast<unsigned long long>(totals.unknown),
        static_cast<unsigned long long>(totals.shed),
        static_cast<unsigned long long>(totals.fork_failed),
        static_cast<unsigned long long>(dropped()));
}

void EventLog::Forked(pid_t pid, const net::PeerAddress& peer, size_t running,
                      size_t cap) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo, "forked pid %d to handle %s (%zu of %zu)",
        static_cast<int>(pid), Text(peer).c_str(), running, cap);
}

void EventLog::Handling(const net::PeerAddress& peer) {
  if (!Wants(LogLevel::kInfo)) return;
  // The parent's own descriptor of the log is closed in a child.
  LineWriter writer(STDERR_FILENO);
  Write(writer, LogLevel::kInfo, "child, handling %s", Text(peer).c_str());
}

void EventLog::NotPrepared(const absl::Status& why) {
  if (!Wants(LogLevel::kError)) return;
  LineWriter writer(STDERR_FILENO);
  const absl::string_view reason = why.message();
  // The counts are not mapped in a child if children do not log each
  // connection.
  SharedCounts of_child;
  SharedCounts* const shared = shared_;
  if (level_ != LogLevel::kInfo) shared_ = &of_child;
  Write(writer, LogLevel::kError, "child, not prepared: %.*s",
        static_cast<int>(reason.size()), reason.data());
  shared_ = shared;
}

void EventLog::Ended(pid_t pid, const net::PeerAddress& peer,
                     const proc::ExitStatus& status, bool signalled_by_us,
                     absl::Duration after, size_t running, size_t cap) {
  const bool in_order = status.exited() || signalled_by_us;
  const LogLevel level = in_order ? LogLevel::kInfo : LogLevel::kWarning;
  if (!Wants(level)) return;
  char how[128];
  status.Print(how, sizeof(how));
  const absl::string_view meaning =
      status.exited() ? Meaning(static_cast<ExitCode>(status.code())) : "";
  const bool has_meaning = !meaning.empty();
  Write(writer_, level,
        "pid %d handling %s %s%s%.*s%s after %.6f s (%zu of %zu)",
        static_cast<int>(pid), Text(peer).c_str(), how, has_meaning ? " (" : "",
        static_cast<int>(meaning.size()), meaning.data(),
        has_meaning ? ")" : "", Seconds(after), running, cap);
}

void EventLog::Expired(pid_t pid, const net::PeerAddress& peer,
                       KillReason deadline) {
  if (!Wants(LogLevel::kInfo)) return;
  const char* const name =
      deadline == KillReason::kFirstByte ? "first_byte_timeout"
      : deadline == KillReason::kIdle    ? "idle_timeout"
      : deadline == KillReason::kPeer    ? "peer_timeout"
                                         : "connection_timeout";
  Write(writer_, LogLevel::kInfo, "killing pid %d handling %s: %s",
        static_cast<int>(pid), Text(peer).c_str(), name);
}

void EventLog::UpgradeStarted(pid_t pid, absl::string_view path) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo, "upgrade: started pid %d from %.*s",
        static_cast<int>(pid), static_cast<int>(path.size()), path.data());
}

void EventLog::UpgradeIgnored(absl::string_view why) {
  if (!Wants(LogLevel::kWarning)) return;
  Write(writer_, LogLevel::kWarning, "upgrade: ignored, %.*s",
        static_cast<int>(why.size()), why.data());
}

void EventLog::SuccessorReady(pid_t pid) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo, "upgrade: pid %d is ready and accepts",
        static_cast<int>(pid));
}

void EventLog::HandedOver(pid_t pid) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo, "upgrade: pid %d has taken over",
        static_cast<int>(pid));
}

void EventLog::UpgradeFailed(pid_t pid, const absl::Status& why,
                             uint64_t failures) {
  if (!Wants(LogLevel::kError)) return;
  const absl::string_view reason = why.message();
  char who[32] = "";
  if (pid != 0) {
    std::snprintf(who, sizeof(who), "pid %d: ", static_cast<int>(pid));
  }
  Write(writer_, LogLevel::kError,
        "upgrade failed, and this program serves on: %s%.*s (%llu failed so "
        "far)",
        who, static_cast<int>(reason.size()), reason.data(),
        static_cast<unsigned long long>(failures));
}

void EventLog::ForkFailed(const net::PeerAddress& peer, const absl::Status& why,
                          absl::Duration pause, net::Instant now) {
  if (!Wants(LogLevel::kError, fork_throttle_, now)) return;
  const absl::string_view reason = why.message();
  const bool written =
      Write(writer_, LogLevel::kError,
            "no process for %s, closed: %.*s; accepting again in %.3f s (%llu "
            "lines like this kept back)",
            Text(peer).c_str(), static_cast<int>(reason.size()), reason.data(),
            Seconds(pause),
            static_cast<unsigned long long>(fork_throttle_.kept_back));
  if (written) fork_throttle_.kept_back = 0;
}

void EventLog::AcceptPaused(const net::Endpoint& listener, int error,
                            absl::Duration pause, net::Instant now) {
  if (!Wants(LogLevel::kWarning, pause_throttle_, now)) return;
  const bool written = Write(
      writer_, LogLevel::kWarning,
      "accept on %s: %s; accepting again in %.3f s or when a child ends (%llu "
      "lines like this kept back)",
      Text(listener).c_str(), strerrordesc_np(error), Seconds(pause),
      static_cast<unsigned long long>(pause_throttle_.kept_back));
  if (written) pause_throttle_.kept_back = 0;
}

void EventLog::AcceptFailed(const net::Endpoint& listener, int error,
                            net::Instant now) {
  if (!Wants(LogLevel::kWarning, accept_throttle_, now)) return;
  const bool written = Write(
      writer_, LogLevel::kWarning,
      "accept on %s: %s; trying the next (%llu lines like this kept back)",
      Text(listener).c_str(), strerrordesc_np(error),
      static_cast<unsigned long long>(accept_throttle_.kept_back));
  if (written) accept_throttle_.kept_back = 0;
}

void EventLog::ListenerDead(const net::Endpoint& listener, int error) {
  if (!Wants(LogLevel::kError)) return;
  Write(writer_, LogLevel::kError, "accept on %s: %s; this listener is closed",
        Text(listener).c_str(), strerrordesc_np(error));
}

void EventLog::CallFailed(const char* call, int error, net::Instant now) {
  if (!Wants(LogLevel::kError, call_throttle_, now)) return;
  const bool written =
      Write(writer_, LogLevel::kError,
            "%s: %s; trying again (%llu lines like this kept back)", call,
            strerrordesc_np(error),
            static_cast<unsigned long long>(call_throttle_.kept_back));
  if (written) call_throttle_.kept_back = 0;
}

void EventLog::DiedAtStart(pid_t pid, const proc::ExitStatus& status,
                           absl::Duration pause) {
  if (!Wants(LogLevel::kError)) return;
  char how[128];
  Write(writer_, LogLevel::kError,
        "pid %d, forked ahead, %s before it was ready; the next one in %.3f s",
        static_cast<int>(pid), status.Print(how, sizeof(how)), Seconds(pause));
}

void EventLog::NoneAhead(const absl::Status& why, absl::Duration pause) {
  if (!Wants(LogLevel::kError)) return;
  const absl::string_view reason = why.message();
  Write(writer_, LogLevel::kError,
        "no process could be forked ahead: %.*s; the next try in %.3f s",
        static_cast<int>(reason.size()), reason.data(), Seconds(pause));
}

void EventLog::ZygoteEnded(pid_t pid, const proc::ExitStatus& status) {
  if (!Wants(LogLevel::kWarning)) return;
  char how[128];
  Write(writer_, LogLevel::kWarning, "zygote, pid %d, %s",
        static_cast<int>(pid), status.Print(how, sizeof(how)));
}

void EventLog::ZygoteServes(pid_t pid) {
  if (!Wants(LogLevel::kInfo)) return;
  Write(writer_, LogLevel::kInfo, "zygote is pid %d", static_cast<int>(pid));
}

uint64_t EventLog::dropped() const { return shared_->dropped; }

bool EventLog::Wants(LogLevel level, Throttle& throttle, net::Instant now) {
  if (!Wants(level)) return false;
  if (now < throttle.quiet_until) {
    ++throttle.kept_back;
    return false;
  }
  throttle.quiet_until = net::After(now, absl::Seconds(1));
  return true;
}

bool EventLog::Write(LineWriter& writer, LogLevel level, const char* format,
                     ...) {
  char line[kLineSize];
  const int pid = static_cast<int>(getpid());

  // First what is missing, so that the gap shows where it is. If not even that
  // gets through, this line would not either.
  const uint64_t missing = shared_->dropped_and_not_said.exchange(0);
  if (missing > 0) {
    const int length = std::snprintf(
        line, sizeof(line), "brood[%d] warning: %llu log lines were dropped\n",
        pid, static_cast<unsigned long long>(missing));
    if (!writer.Write(absl::string_view(line, static_cast<size_t>(length)))) {
      shared_->dropped_and_not_said += missing + 1;
      ++shared_->dropped;
      return false;
    }
  }

  const absl::string_view name = NameOf(level);
  int length = std::snprintf(line, sizeof(line), "brood[%d] %.*s: ", pid,
                             static_cast<int>(name.size()), name.data());
  va_list arguments;
  va_start(arguments, format);
  length +=
      std::vsnprintf(line + length, sizeof(line) - static_cast<size_t>(length),
                     format, arguments);
  va_end(arguments);
  // A line that is too long loses its end, not its newline.
  length = std::min(length, static_cast<int>(sizeof(line)) - 2);
  line[length++] = '\n';
  if (writer.Write(absl::string_view(line, static_cast<size_t>(length)))) {
    return true;
  }
  ++shared_->dropped;
  ++shared_->dropped_and_not_said;
  return false;
}

}  // namespace brood::server

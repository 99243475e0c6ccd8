// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/chaos_proxy.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/testing/internal/peer_progress.h"

namespace brood::testing {
namespace {

// How often a receiver is checked: the kernel does not notify us of its reads.
constexpr absl::Duration kLook = absl::Microseconds(200);
constexpr int kConnectTimeoutSeconds = 10;

// What a poll of the proxy waits for.
struct Waits {
  void For(int fd, short events) { fds.push_back({fd, events, 0}); }
  void Until(net::Instant instant) { wake = std::min(wake, instant); }

  std::vector<pollfd> fds;
  net::Instant wake = net::Never();
};

// One direction of a connection. Never blocks.
class Flow {
 public:
  Flow(const ChaosPlan::Direction& plan, int from, int to, PeerProgress reader)
      : plan_(plan), from_(from), to_(to), reader_(std::move(reader)) {}

  // Does what it can without waiting. Returns false if the connection must be
  // reset.
  bool Advance();
  void AddTo(Waits& waits) const;
  // Reports whether the stream has ended, and its end was passed on.
  bool over() const { return phase_ == Phase::kOver; }

 private:
  enum class Phase { kSend, kReceive, kAwaitReader, kPause, kOver };
  enum class Outcome { kGoOn, kWait, kReset };

  Outcome Send();
  Outcome Receive();
  Outcome LookAtReader();
  // Returns the next offset at which the stream is cut.
  uint64_t NextCut() const;

  const ChaosPlan::Direction& plan_;
  const int from_;
  const int to_;
  PeerProgress reader_;
  // kSend although there are no bytes yet: reset_after may be 0.
  Phase phase_ = Phase::kSend;
  std::string bytes_;  // received, and not yet sent
  uint64_t passed_ = 0;
  net::Instant pause_end_;
};

bool Flow::Advance() {
  for (;;) {
    Outcome outcome = Outcome::kWait;
    switch (phase_) {
      case Phase::kSend:
        outcome = Send();
        break;
      case Phase::kReceive:
        outcome = Receive();
        break;
      case Phase::kAwaitReader:
        outcome = LookAtReader();
        break;
      case Phase::kPause:
        if (net::Now() < pause_end_) break;
        phase_ = Phase::kSend;
        outcome = Outcome::kGoOn;
        break;
      case Phase::kOver:
        break;
    }
    if (outcome != Outcome::kGoOn) return outcome == Outcome::kWait;
  }
}

void Flow::AddTo(Waits& waits) const {
  switch (phase_) {
    case Phase::kSend:
      return waits.For(to_, POLLOUT);
    case Phase::kReceive:
      return waits.For(from_, POLLIN);
    case Phase::kAwaitReader:
      return waits.Until(net::After(net::Now(), kLook));
    case Phase::kPause:
      return waits.Until(pause_end_);
    case Phase::kOver:
      return;
  }
}

uint64_t Flow::NextCut() const {
  uint64_t cut = UINT64_MAX;
  if (plan_.max_piece > 0) cut = passed_ + plan_.max_piece;
  if (plan_.reset_after) cut = std::min(cut, *plan_.reset_after);
  for (uint64_t split : plan_.splits) {
    if (split > passed_) return std::min(cut, split);
  }
  return cut;
}

Flow::Outcome Flow::Send() {
  if (plan_.reset_after && passed_ >= *plan_.reset_after) {
    return Outcome::kReset;
  }
  if (bytes_.empty()) {
    phase_ = Phase::kReceive;
    return Outcome::kGoOn;
  }
  const uint64_t cut = NextCut();
  const ssize_t sent = send(
      to_, bytes_.data(),
      static_cast<size_t>(std::min<uint64_t>(bytes_.size(), cut - passed_)),
      MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN ? Outcome::kWait : Outcome::kReset;
  bytes_.erase(0, static_cast<size_t>(sent));
  passed_ += static_cast<uint64_t>(sent);
  // With max_piece each piece is read alone, even if it is shorter.
  if (passed_ == cut || plan_.max_piece > 0) phase_ = Phase::kAwaitReader;
  return Outcome::kGoOn;
}

Flow::Outcome Flow::Receive() {
  std::array<char, 16384> piece;
  const ssize_t got = recv(from_, piece.data(), piece.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN ? Outcome::kWait : Outcome::kReset;
  if (got == 0) {
    shutdown(to_, SHUT_WR);
    phase_ = Phase::kOver;
    return Outcome::kWait;
  }
  bytes_.assign(piece.data(), static_cast<size_t>(got));
  phase_ = Phase::kSend;
  return Outcome::kGoOn;
}

Flow::Outcome Flow::LookAtReader() {
  const absl::StatusOr<bool> has_read = reader_.HasRead(passed_);
  if (!has_read.ok()) return Outcome::kReset;
  if (!*has_read) return Outcome::kWait;
  pause_end_ = net::After(net::Now(), plan_.delay);
  phase_ = Phase::kPause;
  return Outcome::kGoOn;
}

// Makes the next close() of `fd` a reset.
void ResetAtClose(int fd) {
  const linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

// The connection of a client, and the connection to the server made for it.
class Relay {
 public:
  Relay(const ChaosPlan& plan, net::Connection client, net::Socket server,
        PeerProgress client_reader, PeerProgress server_reader)
      : client_(std::move(client)),
        server_(std::move(server)),
        up_(plan.to_server, client_.fd(), server_.fd(),
            std::move(server_reader)),
        down_(plan.to_client, server_.fd(), client_.fd(),
              std::move(client_reader)) {}

  // Returns false when both connections have ended, in order or by a reset.
  bool Advance() {
    if (!up_.Advance() || !down_.Advance()) {
      Reset();
      return false;
    }
    return !up_.over() || !down_.over();
  }
  void AddTo(Waits& waits) const {
    up_.AddTo(waits);
    down_.AddTo(waits);
  }
  void Reset() {
    ResetAtClose(client_.fd());
    ResetAtClose(server_.fd());
  }

 private:
  net::Connection client_;
  net::Socket server_;
  Flow up_;
  Flow down_;
};

// Returns a socket that is not valid if the server can't be reached. Blocks for
// 10 s at most.
net::Socket ConnectTo(const net::Endpoint& server) {
  net::Socket socket = net::Socket::Adopt(
      ::socket(server.address()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return socket;
  const int on = 1;
  setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const timeval timeout = {kConnectTimeoutSeconds, 0};
  setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (TEMP_FAILURE_RETRY(connect(socket.fd(), server.address(),
                                 server.address_length())) < 0) {
    return net::Socket();
  }
  return socket;
}

// Adds a relay for `client`. If that fails, as when the client has already
// reset its connection, resets the ends that exist.
void Begin(net::Connection client, const net::Endpoint& server,
           const ChaosPlan& plan, std::list<Relay>& relays) {
  net::Socket socket = ConnectTo(server);
  absl::StatusOr<PeerProgress> client_reader =
      PeerProgress::Of(client.socket());
  absl::StatusOr<PeerProgress> server_reader = PeerProgress::Of(socket);
  if (!client_reader.ok() || !server_reader.ok()) {
    ResetAtClose(client.fd());
    ResetAtClose(socket.fd());
    return;
  }
  relays.emplace_back(plan, std::move(client), std::move(socket),
                      *std::move(client_reader), *std::move(server_reader));
}

ChaosPlan::Direction RandomDirection(std::mt19937_64& random, uint64_t bytes) {
  // The distributions of <random> differ between libraries.
  const auto below = [&](uint64_t limit) { return random() % limit; };
  ChaosPlan::Direction direction;
  for (uint64_t splits = below(6); splits > 0; --splits) {
    direction.splits.push_back(1 + below(bytes + 1));
  }
  std::sort(direction.splits.begin(), direction.splits.end());
  if (below(3) == 0) direction.max_piece = static_cast<size_t>(1 + below(7));
  if (below(3) == 0) {
    direction.delay = absl::Microseconds(static_cast<int64_t>(below(2000)));
  }
  return direction;
}

std::string Describe(const ChaosPlan::Direction& direction) {
  std::vector<std::string> words;
  if (!direction.splits.empty()) {
    words.push_back(
        absl::StrCat("split after ", absl::StrJoin(direction.splits, ",")));
  }
  if (direction.max_piece > 0) {
    words.push_back(absl::StrCat("pieces of ", direction.max_piece));
  }
  if (direction.delay > absl::ZeroDuration()) {
    words.push_back(
        absl::StrCat("delay ", absl::FormatDuration(direction.delay)));
  }
  if (direction.reset_after) {
    words.push_back(absl::StrCat("reset after ", *direction.reset_after));
  }
  return words.empty() ? "as it is" : absl::StrJoin(words, ", ");
}

}  // namespace

ChaosPlan ChaosPlan::Random(uint64_t seed, uint64_t to_server_bytes,
                            uint64_t to_client_bytes) {
  std::mt19937_64 random(seed);
  ChaosPlan plan;
  plan.to_server = RandomDirection(random, to_server_bytes);
  plan.to_client = RandomDirection(random, to_client_bytes);
  const uint64_t reset = random() % 6;
  if (reset == 0) plan.to_server.reset_after = random() % (to_server_bytes + 1);
  if (reset == 1) plan.to_client.reset_after = random() % (to_client_bytes + 1);
  return plan;
}

std::string ChaosPlan::ToString() const {
  return absl::StrCat("to server: ", Describe(to_server),
                      "; to client: ", Describe(to_client));
}

std::ostream& operator<<(std::ostream& stream, const ChaosPlan& plan) {
  return stream << plan.ToString();
}

absl::Status ChaosProxy::Supported() { return PeerProgress::Supported(); }

absl::StatusOr<std::unique_ptr<ChaosProxy>> ChaosProxy::Start(
    const net::Endpoint& server, ChaosPlan plan) {
  absl::Status supported = Supported();
  if (!supported.ok()) return supported;
  const absl::StatusOr<net::Endpoint> any_port =
      net::Endpoint::Parse("127.0.0.1:0");
  if (!any_port.ok()) return any_port.status();
  absl::StatusOr<net::Listener> listener =
      net::Listener::Listen(*any_port, net::kFullBacklog);
  if (!listener.ok()) return listener.status();
  net::Socket stop = net::Socket::Adopt(eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  return std::unique_ptr<ChaosProxy>(new ChaosProxy(
      server, std::move(plan),
      std::make_unique<net::Listener>(*std::move(listener)), std::move(stop)));
}

ChaosProxy::ChaosProxy(const net::Endpoint& server, ChaosPlan plan,
                       std::unique_ptr<net::Listener> listener,
                       net::Socket stop)
    : server_(server),
      plan_(std::move(plan)),
      listener_(std::move(listener)),
      endpoint_(listener_->endpoint()),
      stop_(std::move(stop)),
      thread_([this] { Run(); }) {}

ChaosProxy::~ChaosProxy() {
  eventfd_write(stop_.fd(), 1);
  thread_.join();
}

void ChaosProxy::Run() {
  std::list<Relay> relays;
  for (;;) {
    Waits waits;
    waits.For(stop_.fd(), POLLIN);
    waits.For(listener_->fd(), POLLIN);
    for (const Relay& relay : relays) relay.AddTo(waits);
    const timespec left = absl::ToTimespec(
        std::min(net::TimeUntil(waits.wake, net::Now()), absl::Hours(1)));
    // Advance() doesn't block, so every relay may try, whichever is ready.
    ppoll(waits.fds.data(), waits.fds.size(), &left, nullptr);
    if (waits.fds[0].revents != 0) break;
    for (net::Accepted client = listener_->Accept(); client.connection;
         client = listener_->Accept()) {
      Begin(*std::move(client.connection), server_, plan_, relays);
    }
    relays.remove_if([](Relay& relay) { return !relay.Advance(); });
  }
  for (Relay& relay : relays) relay.Reset();
}

}  // namespace brood::testing

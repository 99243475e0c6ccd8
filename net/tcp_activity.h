// TcpActivity: whether and when bytes moved on a connection that another
// process holds.
//
// Asks the kernel (sock_diag, what ss(8) uses) by the two addresses of the
// connection: no descriptor of it is needed, and no byte is read. Costs some
// 5 µs a question, needs no privileges, and sees the connections of its own
// network namespace.
//
// Lives in the parent. Never blocks: the kernel answers within the call.
//
// Errors: Create() gives the errno of socket, on a kernel without sock_diag.
// Ask() gives NotFound when there is no such connection (any more), and
// otherwise the errno of the call or of the kernel's answer.
//
// Example:
//   absl::StatusOr<TcpActivity> activity = TcpActivity::Create();
//   absl::StatusOr<TcpActivity::Answer> answer =
//       activity->Ask(connection.local_address(), connection.peer());
//   if (answer.ok() && answer->bytes_received == 0) ...

#ifndef BROOD_NET_TCP_ACTIVITY_H_
#define BROOD_NET_TCP_ACTIVITY_H_

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/peer_address.h"
#include "brood/net/socket.h"

namespace brood::net {

class TcpActivity {
 public:
  struct Answer {
    uint64_t bytes_received;
    // Since bytes last came from the peer or went to it; before the first ones,
    // since the connection was made.
    absl::Duration idle;
    // Of what was sent to the peer, how much it has acknowledged, and whether
    // there is more that waits for it to be there, or to take it.
    uint64_t bytes_acknowledged;
    bool more_waits;
  };

  static absl::StatusOr<TcpActivity> Create();

  absl::StatusOr<Answer> Ask(const PeerAddress& local,
                             const PeerAddress& peer) const;

  int fd() const { return socket_.fd(); }

 private:
  explicit TcpActivity(Socket socket) : socket_(std::move(socket)) {}

  Socket socket_;
};

}  // namespace brood::net

#endif  // BROOD_NET_TCP_ACTIVITY_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_TAKEN_OVER_CHILD_H_
#define BROOD_TESTING_ATTACKS_TAKEN_OVER_CHILD_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "brood/server/handler.h"
#include "brood/testing/attacks/system_call_proxy.h"
#include "brood/testing/test_client.h"

namespace brood::testing {

// TakenOverChild is a child of a server that was taken over by its client: it
// executes any system call and any memory access that a test asks for.
//
// Lives in the test process and owns the client of a connection that
// SystemCallProxy() handles. The child ends when the server ends it or the
// object is destroyed. Moved, never copied. Addresses are those of the child.
//
// Errors: each function returns what the call returned in the child. If the
// child has ended or does not answer within the timeout of the client, the
// value is -1 and the error is kGone.
//
// Example:
//   TakenOverChild child(ConnectTo(*server));
//   for (const int fd : child.UnixSockets()) {
//     child.Syscall(SYS_shutdown, fd, SHUT_WR);
//   }
//   child.Exit(0);
class TakenOverChild {
 public:
  // kGone is the error of a function whose child has not answered.
  static constexpr int kGone = -1;

  // Result is what a system call returned in the child.
  struct Result {
    int64_t value = -1;
    int error = kGone;

    // Reports whether the call succeeded.
    bool ok() const { return value != -1; }
  };

  // Takes ownership of the client of a connection whose child obeys.
  explicit TakenOverChild(TestClient client) : client_(std::move(client)) {}

  // Calls `number` with up to six `arguments`: integers, or addresses of the
  // child that Put() returned.
  template <typename... Arguments>
  Result Syscall(long number, Arguments... arguments) {
    return Ask(MakeCommand(ProxyCommand::Kind::kCall, number, arguments...));
  }
  // Calls `number` until it fails, `count` times at most. The value is the
  // number of calls that succeeded.
  template <typename... Arguments>
  Result Repeat(uint64_t count, long number, Arguments... arguments) {
    ProxyCommand command =
        MakeCommand(ProxyCommand::Kind::kRepeat, number, arguments...);
    command.size = count;
    return Ask(command);
  }
  // Makes the child call `number` without end, and returns at once.
  template <typename... Arguments>
  void Flood(long number, Arguments... arguments) {
    SendCommand(MakeCommand(ProxyCommand::Kind::kFlood, number, arguments...));
  }
  // Calls `number` in a child of the child, which then exits.
  template <typename... Arguments>
  Result SyscallInChild(long number, Arguments... arguments) {
    return Ask(
        MakeCommand(ProxyCommand::Kind::kCallInChild, number, arguments...));
  }

  // Returns the pid of the process that obeys, or 0 if it does not answer.
  pid_t pid();
  // Stores `bytes` in the child and returns their address.
  uint64_t Put(absl::string_view bytes);
  // Stores `value`, which has no pointers of this process, in the same way.
  template <typename T>
  uint64_t PutValue(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return Put({reinterpret_cast<const char*>(&value), sizeof(value)});
  }
  // Returns the `size` bytes at `address`; empty if they cannot be read.
  std::string Get(uint64_t address, uint64_t size);
  // Returns the T at `address`, or T() if it cannot be read.
  template <typename T>
  T GetValue(uint64_t address) {
    T value = {};
    const std::string bytes = Get(address, sizeof(value));
    if (bytes.size() == sizeof(value)) bytes.copy(Bytes(&value), sizeof(value));
    return value;
  }
  // Writes `bytes` to `address`, which need not be valid.
  Result Write(uint64_t address, absl::string_view bytes);
  // Returns the content of a file that the child can read, such as
  // "/proc/self/maps"; empty if it cannot.
  std::string ReadFile(absl::string_view path);
  // Returns the content of the memory that the child may write, and of what it
  // may read and no file has.
  std::string Memory();
  // Opens `path` with `flags` of open(2) and returns the descriptor.
  Result Open(absl::string_view path, int flags);

  // Returns the descriptors above 2 that the child has, without the connection.
  std::vector<int> Descriptors();
  // Returns the descriptors among Descriptors() that are unix sockets.
  std::vector<int> UnixSockets();
  // Returns the descriptor of the connection, or -1.
  int Connection();
  // Sends `bytes` by the socket `fd` as one message, with a copy of the child's
  // descriptor `sent`. Does not wait.
  Result SendDescriptor(int fd, int sent, absl::string_view bytes);
  // Sends `bytes` in the same way and claims that the process `pid` of the user
  // root did, as the kernel allows root.
  Result SendAs(int fd, pid_t pid, absl::string_view bytes);
  // Returns the option `name` of the socket `fd`, or -1 if it has none.
  int SocketOption(int fd, int name);

  // Clones the child `count` times with `flags` of clone(2), among which is the
  // exit signal. The new processes exit at once.
  Result CloneAndExit(uint64_t flags, uint64_t count);
  // Clones the child once. The new process waits until it is killed.
  Result CloneAndWait(uint64_t flags);
  // Forks the child. The new process obeys from now on, and the old one exits
  // with `code` and leaves it an orphan. The value is the pid of the new one.
  Result ForkAndExit(int code);

  // Sends SIGKILL from the test process to the process that obeys. Does nothing
  // if its pid is not known: for kill() -1 means every process of the machine.
  void Kill();
  // Returns from the handler with `code`.
  void Return(server::ExitCode code = server::ExitCode::kServed);
  // Exits at once, without a return to the server's code.
  void Exit(int code);

  // Returns the client, which this object owns.
  TestClient& client() { return client_; }

 private:
  // Returns the bytes of `*value`, to be written to.
  template <typename T>
  static char* Bytes(T* value) {
    return reinterpret_cast<char*>(value);
  }
  // Returns `argument` as the kernel expects it: a negative one is extended to
  // 64 bits.
  template <typename T>
  static uint64_t ToArgument(T argument) {
    if constexpr (std::is_signed_v<T>) {
      return static_cast<uint64_t>(static_cast<int64_t>(argument));
    } else {
      return static_cast<uint64_t>(argument);
    }
  }
  // Returns the command of `kind` for the call `number` with `arguments`. No
  // bytes follow it.
  template <typename... Arguments>
  static ProxyCommand MakeCommand(ProxyCommand::Kind kind, long number,
                                  Arguments... arguments) {
    static_assert(sizeof...(arguments) <= 6);
    return {kind, 0, number, {ToArgument(arguments)...}, 0};
  }

  // Sends `bytes` with the ancillary data `data` of the type `type`.
  Result SendMessage(int fd, absl::string_view bytes, int type,
                     absl::string_view data);
  // Sends `command` and the `bytes` that follow it, without waiting for an
  // answer. Returns whether all was sent.
  bool SendCommand(const ProxyCommand& command, absl::string_view bytes = "");
  // Sends the same, and returns the answer; kGone if none comes. The bytes that
  // follow the answer to kRead stay unread.
  Result Ask(const ProxyCommand& command, absl::string_view bytes = "");

  TestClient client_;
  pid_t pid_ = 0;
  uint64_t scratch_ = 0;
  uint64_t used_ = 0;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_ATTACKS_TAKEN_OVER_CHILD_H_

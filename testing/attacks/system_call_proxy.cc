// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/attacks/system_call_proxy.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/io.h"

namespace brood::testing {
namespace {

using server::ExitCode;

int64_t Call(const ProxyCommand& command) {
  const uint64_t* const a = command.arguments;
  return syscall(static_cast<long>(command.number), a[0], a[1], a[2], a[3],
                 a[4], a[5]);
}

ProxyAnswer AnswerOf(int64_t value) { return {value, value == -1 ? errno : 0}; }

// Does the same as fork(), but with any flags and without the C library.
int64_t Clone(const ProxyCommand& command) {
  return syscall(SYS_clone, command.number, 0, 0, 0, 0);
}

[[noreturn]] void WaitUntilKilled() {
  for (;;) pause();
}

ProxyAnswer Repeat(const ProxyCommand& command) {
  for (uint64_t n = 0; n < command.size; ++n) {
    if (Call(command) == -1) return {static_cast<int64_t>(n), errno};
  }
  return {static_cast<int64_t>(command.size), 0};
}

// Makes the call in a new process, which exits with the errno of the call.
ProxyAnswer CallInChild(const ProxyCommand& command) {
  const int64_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) return AnswerOf(pid);
  if (pid == 0) _exit(Call(command) == -1 ? errno : 0);
  int status = 0;
  waitpid(static_cast<pid_t>(pid), &status, 0);
  if (!WIFEXITED(status)) return {-1, EFAULT};
  const int error = WEXITSTATUS(status);
  return {error == 0 ? 0 : -1, error};
}

// Copies by the kernel, so that a wrong address is an error and not a crash.
int64_t Copy(bool to_address, uint64_t address, absl::Span<char> bytes) {
  const iovec here = {bytes.data(), bytes.size()};
  const iovec there = {reinterpret_cast<void*>(address), bytes.size()};
  return to_address ? process_vm_writev(getpid(), &here, 1, &there, 1, 0)
                    : process_vm_readv(getpid(), &here, 1, &there, 1, 0);
}

// Returns false if the connection has failed.
bool Send(const net::Connection& connection, const ProxyAnswer& answer,
          absl::string_view bytes = "") {
  return net::WriteFull(
             connection.socket(),
             {reinterpret_cast<const char*>(&answer), sizeof(answer)})
             .ok() &&
         (bytes.empty() || net::WriteFull(connection.socket(), bytes).ok());
}

bool AnswerWithMemory(const net::Connection& connection,
                      const ProxyCommand& command) {
  std::vector<char> bytes(command.arguments[1]);
  const ProxyAnswer answer =
      AnswerOf(Copy(false, command.arguments[0], absl::MakeSpan(bytes)));
  const auto size = static_cast<size_t>(std::max<int64_t>(answer.value, 0));
  return Send(connection, answer, {bytes.data(), size});
}

bool StoreMemory(const net::Connection& connection,
                 const ProxyCommand& command) {
  std::vector<char> bytes(command.size);
  if (!net::ReadFull(connection.socket(), absl::MakeSpan(bytes)).ok()) {
    return false;
  }
  return Send(connection, AnswerOf(Copy(true, command.arguments[0],
                                        absl::MakeSpan(bytes))));
}

bool CloneAndExit(const net::Connection& connection,
                  const ProxyCommand& command) {
  int64_t pid = 0;
  for (uint64_t n = 0; n < command.arguments[0] && pid != -1; ++n) {
    pid = Clone(command);
    if (pid == 0) _exit(0);
  }
  return Send(connection, AnswerOf(pid));
}

bool CloneAndWait(const net::Connection& connection,
                  const ProxyCommand& command) {
  const int64_t pid = Clone(command);
  if (pid == 0) WaitUntilKilled();
  return Send(connection, AnswerOf(pid));
}

// Obeys one command. Returns the exit code if it was the last one.
absl::optional<ExitCode> Obey(const net::Connection& connection,
                              const ProxyCommand& command) {
  using Kind = ProxyCommand::Kind;
  bool goes_on = true;
  switch (command.kind) {
    case Kind::kCall:
      goes_on = Send(connection, AnswerOf(Call(command)));
      break;
    case Kind::kRepeat:
      goes_on = Send(connection, Repeat(command));
      break;
    case Kind::kFlood:
      for (;;) Call(command);
    case Kind::kCallInChild:
      goes_on = Send(connection, CallInChild(command));
      break;
    case Kind::kRead:
      goes_on = AnswerWithMemory(connection, command);
      break;
    case Kind::kWrite:
      goes_on = StoreMemory(connection, command);
      break;
    case Kind::kCloneAndExit:
      goes_on = CloneAndExit(connection, command);
      break;
    case Kind::kCloneAndWait:
      goes_on = CloneAndWait(connection, command);
      break;
    case Kind::kCloneAndObey: {
      const int64_t pid = Clone(command);
      if (pid == 0) {
        goes_on = Send(connection, {getpid(), 0});
      } else if (pid < 0) {
        goes_on = Send(connection, AnswerOf(pid));
      } else {
        _exit(static_cast<int>(command.arguments[0]));
      }
      break;
    }
    case Kind::kReturn:
      return static_cast<ExitCode>(command.arguments[0]);
  }
  return goes_on ? absl::optional<ExitCode>() : ExitCode::kPeerLost;
}

}  // namespace

ExitCode SystemCallProxy(net::Connection& connection) {
  ProxyCommand command;
  while (net::ReadFull(
             connection.socket(),
             absl::MakeSpan(reinterpret_cast<char*>(&command), sizeof(command)))
             .ok()) {
    if (const absl::optional<ExitCode> code = Obey(connection, command)) {
      return *code;
    }
  }
  return ExitCode::kServed;
}

}  // namespace brood::testing

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/attacks/taken_over_child.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace brood::testing {
namespace {

using Kind = ProxyCommand::Kind;

// Where Put() stores bytes. They are overwritten when it is full.
constexpr uint64_t kScratch = uint64_t{1} << 20;

// The number of descriptors that are inspected.
constexpr int kMostDescriptors = 64;

}  // namespace

bool TakenOverChild::SendCommand(const ProxyCommand& command,
                                 absl::string_view bytes) {
  std::string message(reinterpret_cast<const char*>(&command), sizeof(command));
  message.append(bytes.data(), bytes.size());
  return client_.Send(message).ok();
}

TakenOverChild::Result TakenOverChild::Ask(const ProxyCommand& command,
                                           absl::string_view bytes) {
  if (!SendCommand(command, bytes)) return {};
  const absl::StatusOr<std::string> reply =
      client_.ReadExactly(sizeof(ProxyAnswer));
  if (!reply.ok()) return {};
  ProxyAnswer answer;
  reply->copy(Bytes(&answer), sizeof(answer));
  return {answer.value, static_cast<int>(answer.error)};
}

pid_t TakenOverChild::pid() {
  if (pid_ == 0) {
    pid_ = static_cast<pid_t>(std::max<int64_t>(Syscall(SYS_getpid).value, 0));
  }
  return pid_;
}

void TakenOverChild::Kill() {
  const pid_t known = pid();
  if (known > 1) kill(known, SIGKILL);
}

uint64_t TakenOverChild::Put(absl::string_view bytes) {
  if (scratch_ == 0) {
    scratch_ = static_cast<uint64_t>(Syscall(SYS_mmap, 0, kScratch,
                                             PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                         .value);
  }
  const uint64_t size = (bytes.size() + 1 + 15) / 16 * 16;
  if (used_ + size > kScratch) used_ = 0;
  const uint64_t address = scratch_ + used_;
  used_ += size;
  // A path ends with a zero.
  Write(address, std::string(bytes) + '\0');
  return address;
}

std::string TakenOverChild::Get(uint64_t address, uint64_t size) {
  ProxyCommand command = MakeCommand(Kind::kRead, 0, address, size);
  const Result answer = Ask(command);
  if (answer.value <= 0) return "";
  return client_.ReadExactly(static_cast<size_t>(answer.value)).value_or("");
}

TakenOverChild::Result TakenOverChild::Write(uint64_t address,
                                             absl::string_view bytes) {
  ProxyCommand command = MakeCommand(Kind::kWrite, 0, address);
  command.size = bytes.size();
  return Ask(command, bytes);
}

TakenOverChild::Result TakenOverChild::Open(absl::string_view path, int flags) {
  return Syscall(SYS_openat, AT_FDCWD, Put(path), flags | O_CLOEXEC, 0600);
}

std::string TakenOverChild::ReadFile(absl::string_view path) {
  constexpr uint64_t kPiece = 4096;
  std::string content;
  const Result fd = Open(path, O_RDONLY);
  if (!fd.ok()) return content;
  const uint64_t buffer = Put(std::string(kPiece, ' '));
  for (;;) {
    const Result size = Syscall(SYS_read, fd.value, buffer, kPiece);
    if (size.value <= 0) break;
    content += Get(buffer, static_cast<uint64_t>(size.value));
  }
  Syscall(SYS_close, fd.value);
  return content;
}

std::string TakenOverChild::Memory() {
  constexpr unsigned long kPiece = 1 << 20;
  std::string memory;
  const std::string maps = ReadFile("/proc/self/maps");
  for (const absl::string_view line : absl::StrSplit(maps, '\n')) {
    unsigned long begin, end;
    char access[8] = "";
    if (std::sscanf(std::string(line).c_str(), "%lx-%lx %7s", &begin, &end,
                    access) != 3 ||
        access[0] != 'r' ||
        (access[1] != 'w' && absl::StrContains(line, "/"))) {
      continue;
    }
    for (; begin < end; begin += kPiece) {
      memory += Get(begin, std::min(end - begin, kPiece));
    }
  }
  return memory;
}

std::vector<int> TakenOverChild::Descriptors() {
  std::vector<int> descriptors;
  for (int fd = 3; fd < kMostDescriptors; ++fd) {
    if (!Syscall(SYS_fcntl, fd, F_GETFD).ok()) continue;
    if (SocketOption(fd, SO_DOMAIN) == AF_INET &&
        SocketOption(fd, SO_ACCEPTCONN) == 0) {
      continue;
    }
    descriptors.push_back(fd);
  }
  return descriptors;
}

std::vector<int> TakenOverChild::UnixSockets() {
  std::vector<int> sockets = Descriptors();
  sockets.erase(std::remove_if(sockets.begin(), sockets.end(),
                               [&](int fd) {
                                 return SocketOption(fd, SO_DOMAIN) != AF_UNIX;
                               }),
                sockets.end());
  return sockets;
}

int TakenOverChild::Connection() {
  for (int fd = 3; fd < kMostDescriptors; ++fd) {
    if (SocketOption(fd, SO_DOMAIN) == AF_INET &&
        SocketOption(fd, SO_ACCEPTCONN) == 0) {
      return fd;
    }
  }
  return -1;
}

TakenOverChild::Result TakenOverChild::SendMessage(int fd,
                                                   absl::string_view bytes,
                                                   int type,
                                                   absl::string_view data) {
  std::string control(CMSG_SPACE(data.size()), '\0');
  cmsghdr header = {};
  header.cmsg_len = CMSG_LEN(data.size());
  header.cmsg_level = SOL_SOCKET;
  header.cmsg_type = type;
  std::memcpy(control.data(), &header, sizeof(header));
  std::memcpy(control.data() + CMSG_LEN(0), data.data(), data.size());

  const iovec part = {reinterpret_cast<void*>(Put(bytes)), bytes.size()};
  msghdr message = {};
  message.msg_iov = reinterpret_cast<iovec*>(PutValue(part));
  message.msg_iovlen = 1;
  message.msg_control = reinterpret_cast<void*>(Put(control));
  message.msg_controllen = control.size();
  return Syscall(SYS_sendmsg, fd, PutValue(message),
                 MSG_DONTWAIT | MSG_NOSIGNAL);
}

TakenOverChild::Result TakenOverChild::SendDescriptor(int fd, int sent,
                                                      absl::string_view bytes) {
  return SendMessage(fd, bytes, SCM_RIGHTS, {Bytes(&sent), sizeof(sent)});
}

TakenOverChild::Result TakenOverChild::SendAs(int fd, pid_t pid,
                                              absl::string_view bytes) {
  ucred sender = {pid, 0, 0};
  return SendMessage(fd, bytes, SCM_CREDENTIALS,
                     {Bytes(&sender), sizeof(sender)});
}

int TakenOverChild::SocketOption(int fd, int name) {
  const uint64_t value = PutValue(int{-1});
  const uint64_t size = PutValue(socklen_t{sizeof(int)});
  const Result result =
      Syscall(SYS_getsockopt, fd, SOL_SOCKET, name, value, size);
  return result.ok() ? GetValue<int>(value) : -1;
}

TakenOverChild::Result TakenOverChild::CloneAndExit(uint64_t flags,
                                                    uint64_t count) {
  return Ask(MakeCommand(Kind::kCloneAndExit, static_cast<long>(flags), count));
}

TakenOverChild::Result TakenOverChild::CloneAndWait(uint64_t flags) {
  return Ask(MakeCommand(Kind::kCloneAndWait, static_cast<long>(flags)));
}

TakenOverChild::Result TakenOverChild::ForkAndExit(int code) {
  const Result forked = Ask(MakeCommand(Kind::kCloneAndObey, SIGCHLD, code));
  pid_ = static_cast<pid_t>(std::max<int64_t>(forked.value, 0));
  return forked;
}

void TakenOverChild::Return(server::ExitCode code) {
  SendCommand(MakeCommand(Kind::kReturn, 0, static_cast<int64_t>(code)));
}

void TakenOverChild::Exit(int code) {
  SendCommand(MakeCommand(Kind::kCall, SYS_exit_group, code));
}

}  // namespace brood::testing

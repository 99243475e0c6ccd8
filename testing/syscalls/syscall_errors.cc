// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/syscalls/syscall_errors.h"

#include <sys/syscall.h>

#include <cerrno>
#include <map>

namespace brood::testing {
namespace {

constexpr SyscallError ForGood(int error) { return {error, false}; }
constexpr SyscallError Passing(int error) { return {error, true}; }

using Errors = std::vector<SyscallError>;

// The errors when the descriptors of the process or of the system, or memory,
// have run out.
const Errors& NoDescriptor() {
  static const auto* const errors =
      new Errors{ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOMEM)};
  return *errors;
}

const std::map<std::string, Errors>& Table() {
  static const auto* const table = new std::map<std::string, Errors>{
      // Sockets.
      {"socket",
       {ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOBUFS), ForGood(ENOMEM),
        ForGood(EACCES), ForGood(EAFNOSUPPORT)}},
      {"socketpair", NoDescriptor()},
      {"bind", {ForGood(EADDRINUSE), ForGood(EACCES), ForGood(EADDRNOTAVAIL)}},
      {"connect",
       {ForGood(ECONNREFUSED), ForGood(ENOENT), ForGood(EACCES),
        ForGood(EPROTOTYPE), ForGood(EAGAIN)}},
      {"listen", {ForGood(EADDRINUSE), ForGood(EOPNOTSUPP)}},
      {"accept4",
       {ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOBUFS), ForGood(ENOMEM),
        ForGood(ECONNABORTED), ForGood(EPERM), ForGood(EPROTO), ForGood(EINVAL),
        Passing(EINTR), Passing(EAGAIN)}},
      {"shutdown", {ForGood(ENOTCONN), ForGood(ENOBUFS)}},
      {"setsockopt", {ForGood(ENOPROTOOPT), ForGood(EINVAL), ForGood(ENOMEM)}},
      {"getsockopt", {ForGood(ENOPROTOOPT)}},
      {"getsockname", {ForGood(ENOBUFS)}},
      {"sendmsg",
       {ForGood(EAGAIN), ForGood(ENOBUFS), ForGood(ENOMEM),
        ForGood(ETOOMANYREFS), ForGood(EPIPE), Passing(EINTR)}},
      {"recvmsg",
       {ForGood(ENOMEM), ForGood(EMFILE), Passing(EAGAIN), Passing(EINTR)}},
      {"send",
       {ForGood(EAGAIN), ForGood(ENOBUFS), ForGood(ENOMEM), ForGood(EPIPE),
        ForGood(ECONNREFUSED), Passing(EINTR)}},
      {"sendto",
       {ForGood(EAGAIN), ForGood(ENOBUFS), ForGood(ENOMEM),
        ForGood(ECONNREFUSED), ForGood(ENOENT), ForGood(EACCES),
        Passing(EINTR)}},
      {"recv",
       {ForGood(ENOMEM), Passing(ENOBUFS), Passing(EAGAIN), Passing(EINTR)}},
      // Descriptors.
      {"fcntl", {ForGood(EMFILE), ForGood(EINVAL)}},
      {"close", {ForGood(EIO), Passing(EINTR)}},
      {"ioctl", {ForGood(EINVAL)}},
      {"poll", {ForGood(ENOMEM), ForGood(EINVAL), Passing(EINTR)}},
      {"ppoll", {ForGood(ENOMEM), ForGood(EINVAL), Passing(EINTR)}},
      {"epoll_create1", NoDescriptor()},
      {"epoll_ctl", {ForGood(ENOMEM), ForGood(ENOSPC), ForGood(EPERM)}},
      {"epoll_wait", {ForGood(EINVAL), Passing(EINTR)}},
      {"eventfd", NoDescriptor()},
      {"eventfd_read", {Passing(EAGAIN), Passing(EINTR)}},
      {"eventfd_write", {Passing(EAGAIN)}},
      {"signalfd", NoDescriptor()},
      {"timerfd_create", NoDescriptor()},
      {"timerfd_settime", {Passing(EINVAL)}},
      {"write",
       {ForGood(EAGAIN), ForGood(EIO), ForGood(ENOSPC), ForGood(EPIPE),
        Passing(EINTR)}},
      {"pwritev2",
       {ForGood(EAGAIN), ForGood(EOPNOTSUPP), ForGood(EPIPE), Passing(EINTR)}},
      {"pipe2", NoDescriptor()},
      {"splice", {ForGood(EAGAIN), ForGood(EPIPE), Passing(EINTR)}},
      // Files.
      {"open",
       {ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOMEM), ForGood(EACCES),
        ForGood(ENXIO)}},
      {"fopen",
       {ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOMEM), ForGood(EACCES)}},
      {"fscanf", {ForGood(EIO), ForGood(ENOMEM)}},
      {"fclose", {ForGood(EIO)}},
      {"opendir",
       {ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOMEM), ForGood(EACCES)}},
      {"read", {ForGood(EIO), ForGood(EISDIR), Passing(EINTR)}},
      {"readdir", {ForGood(EIO), ForGood(ENOMEM)}},
      {"closedir", {ForGood(EBADF)}},
      {"flock", {ForGood(EWOULDBLOCK), ForGood(ENOLCK), Passing(EINTR)}},
      {"getcwd", {ForGood(ENOENT), ForGood(EACCES), ForGood(ENOMEM)}},
      {"readlink", {ForGood(ENOENT), ForGood(EACCES), ForGood(ENOMEM)}},
      {"unlink",
       {ForGood(ENOENT), ForGood(EACCES), ForGood(EPERM), ForGood(EROFS),
        ForGood(ENOMEM)}},
      {"chmod", {ForGood(EPERM), ForGood(EROFS), ForGood(ENOMEM)}},
      {"fchmod", {ForGood(EPERM), ForGood(EIO)}},
      {"fchmodat", {ForGood(EPERM), ForGood(EROFS), ForGood(ENOMEM)}},
      {"fstatat", {ForGood(ENOENT), ForGood(EACCES), ForGood(ENOMEM)}},
      {"fstatfs", {ForGood(ENOSYS), ForGood(EIO)}},
      {"lstat", {ForGood(ENOENT), ForGood(EACCES), ForGood(ENOMEM)}},
      {"stat", {ForGood(ENOENT), ForGood(EACCES), ForGood(ENOMEM)}},
      {"fstat", {ForGood(EBADF), ForGood(ENOMEM)}},
      // Memory.
      {"mmap", {ForGood(ENOMEM), ForGood(EAGAIN), ForGood(EPERM)}},
      {"munmap", {ForGood(ENOMEM)}},
      {"madvise", {ForGood(ENOMEM), ForGood(EAGAIN), ForGood(EINVAL)}},
      {"mprotect", {ForGood(ENOMEM), ForGood(EACCES)}},
      {"mremap", {ForGood(ENOMEM), ForGood(EAGAIN)}},
      // Processes and signals.
      {"clone3", {ForGood(EAGAIN), ForGood(ENOMEM), ForGood(EPERM)}},
      {"clone", {ForGood(EAGAIN), ForGood(ENOMEM), ForGood(EPERM)}},
      {"_Fork", {ForGood(EAGAIN), ForGood(ENOMEM), ForGood(EPERM)}},
      {"capget", {ForGood(EINVAL), ForGood(EPERM)}},
      {"close_range", {ForGood(ENOSYS), ForGood(EPERM)}},
      {"getrandom", {ForGood(ENOSYS), ForGood(EPERM), Passing(EAGAIN)}},
      {"get_robust_list", {ForGood(EPERM), ForGood(ENOSYS)}},
      {"rt_sigaction", {ForGood(EINVAL)}},
      {"prctl", {ForGood(EINVAL), ForGood(EPERM)}},
      {"wait4", {ForGood(ECHILD), Passing(EINTR)}},
      {"waitid", {ForGood(EINVAL), Passing(EINTR)}},
      {"ptrace", {ForGood(ESRCH)}},
      {"kill", {ForGood(EPERM), ForGood(ESRCH)}},
      {"pidfd_open", {ForGood(EMFILE), ForGood(ENFILE), ForGood(ENOMEM)}},
      {"pidfd_send_signal", {ForGood(EPERM), ForGood(EINVAL)}},
      {"sigaction", {ForGood(EINVAL)}},
      {"sigprocmask", {ForGood(EINVAL)}},
      {"sigpending", {ForGood(EFAULT)}},
      {"sigtimedwait", {Passing(EINTR)}},
      {"nanosleep", {ForGood(EINVAL), Passing(EINTR)}},
      {"getrlimit", {ForGood(EINVAL), ForGood(EPERM)}},
      {"setrlimit", {ForGood(EPERM)}},
      {"clock_getcpuclockid", {ForGood(ESRCH), ForGood(EPERM)}},
      {"clock_gettime", {ForGood(EINVAL)}},
      {"on_exit", {ForGood(ENOMEM)}},
      {"posix_spawnattr_init", {ForGood(ENOMEM)}},
      {"posix_spawn_file_actions_init", {ForGood(ENOMEM)}},
      {"posix_spawn_file_actions_adddup2", {ForGood(ENOMEM)}},
      {"posix_spawn_file_actions_addclosefrom_np", {ForGood(ENOMEM)}},
      {"posix_spawn", {ForGood(ENOENT), ForGood(EAGAIN), ForGood(ENOMEM)}},
  };
  return *table;
}

}  // namespace

std::vector<SyscallError> ErrorsOf(const std::string& call) {
  const auto found = Table().find(call);
  return found == Table().end() ? Errors() : found->second;
}

std::string NameOfSyscall(int64_t number) {
  switch (number) {
    case SYS_clone:
      return "clone";
    case SYS_clone3:
      return "clone3";
    case SYS_capget:
      return "capget";
    case SYS_getrandom:
      return "getrandom";
    case SYS_get_robust_list:
      return "get_robust_list";
    case SYS_rt_sigaction:
      return "rt_sigaction";
    case SYS_pidfd_open:
      return "pidfd_open";
    case SYS_pidfd_send_signal:
      return "pidfd_send_signal";
    case SYS_close_range:
      return "close_range";
    default:
      return "";
  }
}

}  // namespace brood::testing

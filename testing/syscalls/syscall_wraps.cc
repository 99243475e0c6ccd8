// SPDX-License-Identifier: Apache-2.0

// The diverted calls (--wrap): each calls SyscallTable::Fails(), then the
// original. A new call needs a line here and its name in the list in BUILD.

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <ctime>

#include "brood/testing/syscalls/syscall_table.h"

using brood::testing::SyscallTable;

#define BROOD_CALLER __builtin_return_address(0)

// Defines RESULT NAME(PARAMETERS), which returns FAILED if it fails.
// NOLINTBEGIN(bugprone-reserved-identifier,bugprone-macro-parentheses)
#define BROOD_DIVERT(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILED) \
  RESULT __real_##NAME PARAMETERS;                                \
  RESULT __wrap_##NAME PARAMETERS {                               \
    if (SyscallTable::Fails(BROOD_CALLER)) return FAILED;         \
    return __real_##NAME ARGUMENTS;                               \
  }

extern "C" {

// Descriptors.

// The kernel closes the descriptor even if it returns an error.
int __real_close(int fd);
int __wrap_close(int fd) {
  if (!SyscallTable::Fails(BROOD_CALLER)) return __real_close(fd);
  const int error = errno;
  __real_close(fd);
  errno = error;
  return -1;
}

BROOD_DIVERT(int, dup, (int fd), (fd), -1)
BROOD_DIVERT(int, dup2, (int from, int to), (from, to), -1)
BROOD_DIVERT(int, dup3, (int from, int to, int flags), (from, to, flags), -1)
BROOD_DIVERT(int, pipe2, (int* fds, int flags), (fds, flags), -1)
BROOD_DIVERT(ssize_t, read, (int fd, void* into, size_t size), (fd, into, size),
             -1)
BROOD_DIVERT(ssize_t, pread, (int fd, void* into, size_t size, off_t at),
             (fd, into, size, at), -1)
BROOD_DIVERT(ssize_t, pwritev2,
             (int fd, const iovec* from, int count, off_t at, int flags),
             (fd, from, count, at, flags), -1)
BROOD_DIVERT(ssize_t, splice,
             (int from, off64_t* from_at, int to, off64_t* to_at, size_t size,
              unsigned flags),
             (from, from_at, to, to_at, size, flags), -1)
BROOD_DIVERT(ssize_t, write, (int fd, const void* from, size_t size),
             (fd, from, size), -1)
BROOD_DIVERT(int, poll, (pollfd * fds, nfds_t count, int timeout),
             (fds, count, timeout), -1)
BROOD_DIVERT(int, ppoll,
             (pollfd * fds, nfds_t count, const timespec* timeout,
              const sigset_t* mask),
             (fds, count, timeout, mask), -1)
BROOD_DIVERT(int, epoll_create1, (int flags), (flags), -1)
BROOD_DIVERT(int, epoll_ctl, (int epoll, int what, int fd, epoll_event* event),
             (epoll, what, fd, event), -1)
BROOD_DIVERT(int, epoll_wait,
             (int epoll, epoll_event* events, int most, int timeout),
             (epoll, events, most, timeout), -1)
BROOD_DIVERT(int, eventfd, (unsigned value, int flags), (value, flags), -1)
BROOD_DIVERT(int, eventfd_read, (int fd, eventfd_t* value), (fd, value), -1)

// EAGAIN means that the counter is full, so this fills it.
int __real_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value) {
  if (!SyscallTable::Fails(BROOD_CALLER))
    return __real_eventfd_write(fd, value);
  const int error = errno;
  eventfd_t full;
  if (error == EAGAIN) {
    __real_eventfd_read(fd, &full);
    __real_eventfd_write(fd, UINT64_MAX - 1);
  }
  errno = error;
  return -1;
}

BROOD_DIVERT(int, timerfd_create, (int clock, int flags), (clock, flags), -1)
BROOD_DIVERT(int, timerfd_settime,
             (int fd, int flags, const itimerspec* value, itimerspec* old),
             (fd, flags, value, old), -1)
BROOD_DIVERT(int, flock, (int fd, int what), (fd, what), -1)

int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...) {
  va_list rest;
  va_start(rest, what);
  auto* const argument = va_arg(rest, void*);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER)) return -1;
  return __real_fcntl(fd, what, argument);
}

int __real_ioctl(int fd, unsigned long what, ...);
int __wrap_ioctl(int fd, unsigned long what, ...) {
  va_list rest;
  va_start(rest, what);
  auto* const argument = va_arg(rest, void*);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER)) return -1;
  return __real_ioctl(fd, what, argument);
}

// Files.

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = va_arg(rest, mode_t);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER)) return -1;
  return __real_open(path, flags, mode);
}

BROOD_DIVERT(int, stat, (const char* path, struct stat* into), (path, into), -1)
BROOD_DIVERT(int, fstat, (int fd, struct stat* into), (fd, into), -1)
BROOD_DIVERT(int, chmod, (const char* path, mode_t mode), (path, mode), -1)
BROOD_DIVERT(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
BROOD_DIVERT(int, fchmodat, (int fd, const char* path, mode_t mode, int flags),
             (fd, path, mode, flags), -1)
BROOD_DIVERT(int, fstatat,
             (int fd, const char* path, struct stat* into, int flags),
             (fd, path, into, flags), -1)
BROOD_DIVERT(int, fstatfs, (int fd, struct statfs* into), (fd, into), -1)

// ENOENT means that the file is gone, so this removes it.
int __real_unlink(const char* path);
int __wrap_unlink(const char* path) {
  if (!SyscallTable::Fails(BROOD_CALLER)) return __real_unlink(path);
  const int error = errno;
  if (error == ENOENT) __real_unlink(path);
  errno = error;
  return -1;
}
int __real_lstat(const char* path, struct stat* into);
int __wrap_lstat(const char* path, struct stat* into) {
  if (!SyscallTable::Fails(BROOD_CALLER)) return __real_lstat(path, into);
  const int error = errno;
  if (error == ENOENT) __real_unlink(path);
  errno = error;
  return -1;
}

BROOD_DIVERT(ssize_t, readlink, (const char* path, char* into, size_t size),
             (path, into, size), -1)
BROOD_DIVERT(char*, getcwd, (char* into, size_t size), (into, size), nullptr)
BROOD_DIVERT(DIR*, opendir, (const char* path), (path), nullptr)
BROOD_DIVERT(dirent*, readdir, (DIR * folder), (folder), nullptr)
BROOD_DIVERT(FILE*, fopen, (const char* path, const char* mode), (path, mode),
             nullptr)

int __real_closedir(DIR* folder);
int __wrap_closedir(DIR* folder) {
  if (!SyscallTable::Fails(BROOD_CALLER)) return __real_closedir(folder);
  const int error = errno;
  __real_closedir(folder);
  errno = error;
  return -1;
}

int __real_fclose(FILE* file);
int __wrap_fclose(FILE* file) {
  if (!SyscallTable::Fails(BROOD_CALLER)) return __real_fclose(file);
  const int error = errno;
  __real_fclose(file);
  errno = error;
  return EOF;
}

// fscanf, by its names in different C libraries.
int __wrap___isoc99_fscanf(FILE* file, const char* format, ...) {
  if (SyscallTable::Fails(BROOD_CALLER)) return EOF;
  va_list rest;
  va_start(rest, format);
  const int read = std::vfscanf(file, format, rest);
  va_end(rest);
  return read;
}
int __wrap___isoc23_fscanf(FILE* file, const char* format, ...) {
  if (SyscallTable::Fails(BROOD_CALLER)) return EOF;
  va_list rest;
  va_start(rest, format);
  const int read = std::vfscanf(file, format, rest);
  va_end(rest);
  return read;
}

// Sockets.

BROOD_DIVERT(int, socket, (int domain, int type, int protocol),
             (domain, type, protocol), -1)
BROOD_DIVERT(int, socketpair, (int domain, int type, int protocol, int* fds),
             (domain, type, protocol, fds), -1)
BROOD_DIVERT(int, bind, (int fd, const sockaddr* address, socklen_t length),
             (fd, address, length), -1)
BROOD_DIVERT(int, connect, (int fd, const sockaddr* address, socklen_t length),
             (fd, address, length), -1)
BROOD_DIVERT(int, listen, (int fd, int backlog), (fd, backlog), -1)
BROOD_DIVERT(int, accept4,
             (int fd, sockaddr* address, socklen_t* length, int flags),
             (fd, address, length, flags), -1)
BROOD_DIVERT(int, shutdown, (int fd, int how), (fd, how), -1)
BROOD_DIVERT(int, getsockname, (int fd, sockaddr* address, socklen_t* length),
             (fd, address, length), -1)
BROOD_DIVERT(int, getpeername, (int fd, sockaddr* address, socklen_t* length),
             (fd, address, length), -1)
BROOD_DIVERT(int, getsockopt,
             (int fd, int level, int option, void* value, socklen_t* length),
             (fd, level, option, value, length), -1)
BROOD_DIVERT(int, setsockopt,
             (int fd, int level, int option, const void* value,
              socklen_t length),
             (fd, level, option, value, length), -1)
BROOD_DIVERT(ssize_t, recv, (int fd, void* into, size_t size, int flags),
             (fd, into, size, flags), -1)
BROOD_DIVERT(ssize_t, recvmsg, (int fd, msghdr* message, int flags),
             (fd, message, flags), -1)
BROOD_DIVERT(ssize_t, send, (int fd, const void* from, size_t size, int flags),
             (fd, from, size, flags), -1)
BROOD_DIVERT(ssize_t, sendto,
             (int fd, const void* from, size_t size, int flags,
              const sockaddr* to, socklen_t length),
             (fd, from, size, flags, to, length), -1)
BROOD_DIVERT(ssize_t, sendmsg, (int fd, const msghdr* message, int flags),
             (fd, message, flags), -1)

// Memory.

BROOD_DIVERT(void*, mmap,
             (void* at, size_t size, int protection, int flags, int fd,
              off_t offset),
             (at, size, protection, flags, fd, offset), MAP_FAILED)
BROOD_DIVERT(int, munmap, (void* at, size_t size), (at, size), -1)
BROOD_DIVERT(int, mprotect, (void* at, size_t size, int protection),
             (at, size, protection), -1)
BROOD_DIVERT(int, madvise, (void* at, size_t size, int advice),
             (at, size, advice), -1)

void* __real_mremap(void* at, size_t size, size_t new_size, int flags, ...);
void* __wrap_mremap(void* at, size_t size, size_t new_size, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  auto* const to = va_arg(rest, void*);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER)) return MAP_FAILED;
  return __real_mremap(at, size, new_size, flags, to);
}

// Processes, signals, time.

// Reports whether the child has ended. ECHILD means that another wait has
// reaped it, so the calls below reap it, and do not fail for a live child.
bool HasEnded(pid_t pid) {
  siginfo_t info = {};
  return waitid(pid == -1 ? P_ALL : P_PID, static_cast<id_t>(pid), &info,
                WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 &&
         info.si_pid != 0;
}
pid_t __real_wait4(pid_t pid, int* status, int flags, rusage* usage);
pid_t __wrap_wait4(pid_t pid, int* status, int flags, rusage* usage) {
  if ((pid != -1 && pid <= 0) || !HasEnded(pid) ||
      !SyscallTable::Fails(BROOD_CALLER)) {
    return __real_wait4(pid, status, flags, usage);
  }
  const int error = errno;
  if (error == ECHILD) __real_wait4(pid, status, flags, usage);
  errno = error;
  return -1;
}
BROOD_DIVERT(pid_t, waitpid, (pid_t pid, int* status, int flags),
             (pid, status, flags), -1)
BROOD_DIVERT(int, waitid, (idtype_t type, id_t id, siginfo_t* info, int flags),
             (type, id, info, flags), -1)
BROOD_DIVERT(int, kill, (pid_t pid, int signal), (pid, signal), -1)
BROOD_DIVERT(int, sigaction,
             (int signal, const struct sigaction* action,
              struct sigaction* old),
             (signal, action, old), -1)
BROOD_DIVERT(int, sigprocmask, (int how, const sigset_t* set, sigset_t* old),
             (how, set, old), -1)
BROOD_DIVERT(int, sigpending, (sigset_t * set), (set), -1)
BROOD_DIVERT(int, sigtimedwait,
             (const sigset_t* set, siginfo_t* info, const timespec* timeout),
             (set, info, timeout), -1)
BROOD_DIVERT(int, signalfd, (int fd, const sigset_t* set, int flags),
             (fd, set, flags), -1)
BROOD_DIVERT(int, clock_getcpuclockid, (pid_t pid, clockid_t* clock),
             (pid, clock), errno)
BROOD_DIVERT(int, clock_gettime, (clockid_t clock, timespec* time),
             (clock, time), -1)
BROOD_DIVERT(int, nanosleep, (const timespec* time, timespec* left),
             (time, left), -1)
BROOD_DIVERT(int, getrusage, (int who, rusage* usage), (who, usage), -1)
BROOD_DIVERT(int, getrlimit, (int what, rlimit* limit), (what, limit), -1)
BROOD_DIVERT(int, setns, (int fd, int type), (fd, type), -1)
BROOD_DIVERT(int, setrlimit, (int what, const rlimit* limit), (what, limit), -1)
BROOD_DIVERT(int, getpriority, (int which, id_t who), (which, who), -1)
BROOD_DIVERT(int, getitimer, (int which, itimerval* value), (which, value), -1)
BROOD_DIVERT(int, on_exit, (void (*function)(int, void*), void* argument),
             (function, argument), -1)

// Returns twice, as a clone does.
BROOD_DIVERT(pid_t, _Fork, (), (), -1)

int __real_prctl(int what, ...);
int __wrap_prctl(int what, ...) {
  va_list rest;
  va_start(rest, what);
  long arguments[4];
  for (long& argument : arguments) argument = va_arg(rest, long);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER)) return -1;
  return __real_prctl(what, arguments[0], arguments[1], arguments[2],
                      arguments[3]);
}

long __real_ptrace(enum __ptrace_request what, ...);
long __wrap_ptrace(unsigned what, ...) {
  va_list rest;
  va_start(rest, what);
  const pid_t pid = va_arg(rest, pid_t);
  auto* const at = va_arg(rest, void*);
  auto* const data = va_arg(rest, void*);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER)) return -1;
  return __real_ptrace(static_cast<__ptrace_request>(what), pid, at, data);
}

// These return the error, and do not change errno.
BROOD_DIVERT(int, posix_spawnattr_init, (posix_spawnattr_t * attributes),
             (attributes), errno)
BROOD_DIVERT(int, posix_spawn_file_actions_init,
             (posix_spawn_file_actions_t * actions), (actions), errno)
BROOD_DIVERT(int, posix_spawn_file_actions_adddup2,
             (posix_spawn_file_actions_t * actions, int from, int to),
             (actions, from, to), errno)
BROOD_DIVERT(int, posix_spawn_file_actions_addclosefrom_np,
             (posix_spawn_file_actions_t * actions, int first),
             (actions, first), errno)
int __real_posix_spawn(pid_t* pid, const char* path,
                       const posix_spawn_file_actions_t* actions,
                       const posix_spawnattr_t* attributes, char* const* argv,
                       char* const* environment);
int __wrap_posix_spawn(pid_t* pid, const char* path,
                       const posix_spawn_file_actions_t* actions,
                       const posix_spawnattr_t* attributes, char* const* argv,
                       char* const* environment) {
  if (SyscallTable::Fails(BROOD_CALLER)) return errno;
  return __real_posix_spawn(pid, path, actions, attributes, argv, environment);
}

// All other system calls, by number. A clone returns twice from the original,
// once in each process. Like the C library, this always reads six arguments:
// those that the caller did not pass are undefined, and a sanitizer must not
// check them.
long __real_syscall(long number, ...);
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (long& argument : a) argument = va_arg(rest, long);
  va_end(rest);
  if (SyscallTable::Fails(BROOD_CALLER, number)) return -1;
  return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,bugprone-macro-parentheses)

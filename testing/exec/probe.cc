// SPDX-License-Identifier: Apache-2.0

// A program that a server executes: it prints its environment to its client, or
// misbehaves as its first argument says.
//
//   probe facts ...      prints its arguments, variables and descriptors, then ends
//   probe signal N       is killed by the signal N
//   probe exit N         exits with N
//   probe closed         closes every descriptor, then waits
//   probe deaf           ignores SIGTERM, prints "ready", then waits
//   probe pair           leaves a process that waits, prints "ready", waits too
//   probe reply          replies to each line with "PID: LINE"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

extern char** environ;

// A program does not have the environment of the test, which says this to a
// sanitizer: signals have their default actions.
extern "C" const char* __asan_default_options();   // NOLINT
extern "C" const char* __asan_default_options() {  // NOLINT
  return "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:"
         "handle_abort=0";
}

namespace {

// Identifies the file behind a descriptor.
std::string FileOf(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return "closed";
  if (!S_ISSOCK(status.st_mode)) return "no socket";
  const int flags = fcntl(fd, F_GETFL);
  return "socket " + std::to_string(status.st_ino) +
         ((flags & O_NONBLOCK) != 0 ? ", does not block" : "");
}

std::vector<int> OpenDescriptors() {
  std::vector<int> open;
  DIR* const list = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(list)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(list)) open.push_back(fd);
  }
  closedir(list);
  std::sort(open.begin(), open.end());
  return open;
}

// Leaves out variables that depend on the machine, unless the server sets them.
void PrintVariables() {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) {
    variables.emplace_back(*each);
  }
  std::sort(variables.begin(), variables.end());
  for (const std::string& variable : variables) {
    const std::string name = variable.substr(0, variable.find('='));
    const bool usual = name == "PATH" || name == "HOME" || name == "LANG" ||
                       name == "TZ" || name.compare(0, 3, "LC_") == 0;
    const bool is_pid = variable == "LISTEN_PID=" + std::to_string(getpid());
    if (!usual) std::cout << (is_pid ? "LISTEN_PID=own" : variable) << "\n";
  }
}

void PrintSignals() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, 3, "Sig") == 0 && line.compare(0, 4, "SigQ") != 0) {
      std::replace(line.begin(), line.end(), '\t', ' ');
      std::cout << line << "\n";
    }
  }
}

void PrintFacts(int argc, char** argv) {
  // Lists descriptors before this program opens any.
  const std::vector<int> open = OpenDescriptors();
  for (int i = 0; i < argc; ++i) std::cout << "argument " << argv[i] << "\n";
  PrintVariables();
  const std::string connection = FileOf(STDIN_FILENO);
  for (const int fd : open) {
    const std::string file = FileOf(fd);
    std::cout << "descriptor " << fd << ": "
              << (file == connection ? "the connection" : file) << "\n";
  }
  if (connection.find("does not block") != std::string::npos) {
    std::cout << "the connection does not block\n";
  }
  PrintSignals();
  std::cout << "group " << (getpgrp() == getpid() ? "own" : "inherited")
            << ", session " << (getsid(0) == getpid() ? "own" : "inherited")
            << "\n";
  char directory[4096] = "";
  if (getcwd(directory, sizeof(directory)) == nullptr) directory[0] = '\0';
  std::cout << "directory " << directory << "\n";
  const mode_t mask = umask(0);
  std::cout << "umask " << std::oct << mask << "\n";
}

[[noreturn]] void WaitForSignal() {
  for (;;) pause();
}

void SayReady() { std::cout << "ready\n" << std::flush; }

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const int number = argc > 2 ? std::atoi(argv[2]) : 0;
  if (mode == "facts") {
    PrintFacts(argc, argv);
  } else if (mode == "signal") {
    const rlimit none = {};
    setrlimit(RLIMIT_CORE, &none);
    raise(number);
  } else if (mode == "exit") {
    return number;
  } else if (mode == "closed") {
    for (int fd = 0; fd < 1024; ++fd) close(fd);
    WaitForSignal();
  } else if (mode == "deaf") {
    std::signal(SIGTERM, SIG_IGN);
    SayReady();
    WaitForSignal();
  } else if (mode == "pair") {
    if (fork() == 0) WaitForSignal();
    SayReady();
    WaitForSignal();
  } else if (mode == "reply") {
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << getpid() << ": " << line << "\n" << std::flush;
    }
  } else {
    return 100;
  }
  return 0;
}

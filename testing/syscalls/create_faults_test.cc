// SPDX-License-Identifier: Apache-2.0

// Create() restores the state of the process when it fails, and so does the
// destructor of the server (F27b).
//
// Create() fails at each of its call sites in turn, in each strategy, in
// another process. The state of that process is compared with its state before:
// descriptors with their files and flags, signals, environment, limits, the
// directory, the umask and whether it is a subreaper.

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/server/echo_handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/syscalls/syscall_errors.h"
#include "brood/testing/syscalls/syscall_table.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

#if defined(__OPTIMIZE__) || defined(ABSL_HAVE_ADDRESS_SANITIZER)

TEST(CreateFaultsTest, FailedCreateRestoresTheProcessAtEachCall) {
  GTEST_SKIP() << "an optimizer and a sanitizer change the sites";
}

#else

// The state of a process: texts by name.
using Image = std::map<std::string, std::string>;

Image TakeImage() {
  Image image;
  for (int fd = 0; fd < 256; ++fd) {
    struct stat file;
    if (fstat(fd, &file) < 0) continue;
    std::string& text = image[absl::StrCat("descriptor ", fd)];
    text = absl::StrCat(file.st_dev, ":", file.st_ino, " flags ",
                        fcntl(fd, F_GETFD), " ", fcntl(fd, F_GETFL));
    for (const auto& [level, option] :
         {std::pair(SOL_SOCKET, SO_KEEPALIVE),
          std::pair(+IPPROTO_TCP, TCP_NODELAY),
          std::pair(+IPPROTO_TCP, TCP_KEEPIDLE),
          std::pair(+IPPROTO_TCP, TCP_USER_TIMEOUT)}) {
      int value = -1;
      socklen_t length = sizeof(value);
      getsockopt(fd, level, option, &value, &length);
      absl::StrAppend(&text, " ", value);
    }
  }
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action = {};
    if (sigaction(signal, nullptr, &action) < 0) continue;
    const bool is_handled =
        action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
    image[absl::StrCat("signal ", signal)] =
        absl::StrCat(reinterpret_cast<uintptr_t>(action.sa_handler), " flags ",
                     is_handled ? action.sa_flags : 0,
                     sigismember(&mask, signal) == 1 ? " blocked" : "");
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    image[absl::StrCat("environment ", *variable)] = "set";
  }
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    rlimit limit = {};
    getrlimit(static_cast<__rlimit_resource>(resource), &limit);
    image[absl::StrCat("limit ", resource)] =
        absl::StrCat(limit.rlim_cur, " ", limit.rlim_max);
  }
  int subreaper = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  image["subreaper"] = absl::StrCat(subreaper);
  image["dumpable"] = absl::StrCat(prctl(PR_GET_DUMPABLE));
  char directory[4096];
  image["directory"] = getcwd(directory, sizeof(directory));
  const mode_t mask_of_files = umask(0);
  umask(mask_of_files);
  image["umask"] = absl::StrCat(mask_of_files);
  image["children"] = absl::StrCat(waitpid(-1, nullptr, WNOHANG | __WALL) >= 0);
  return image;
}

// Returns the differences, a line for each.
std::string Difference(const Image& before, const Image& after) {
  std::string text;
  for (const auto& [name, value] : before) {
    const auto found = after.find(name);
    const std::string now = found == after.end() ? "gone" : found->second;
    if (now != value)
      absl::StrAppend(&text, name, ": ", value, " -> ", now, "\n");
  }
  for (const auto& [name, value] : after) {
    if (before.count(name) == 0) absl::StrAppend(&text, name, ": new\n");
  }
  return text;
}

// Reports whether `site` restores a state, which stays changed if the call
// fails.
bool Undoes(absl::string_view site) {
  return absl::StrContains(site, "::~") || absl::StrContains(site, "Restore") ||
         absl::StrContains(site, "::GiveBack") ||
         absl::StrContains(site, "WithoutSignal");
}

class CreateFaultsTest : public LeakCheck {
 protected:
  // The result of one run, which is the exit code of its process.
  enum Outcome { kCreated = 0, kRefused = 1, kLeftSomething = 2 };

  // Creates and destroys a server in a child. Returns the Outcome.
  int CreateAndDestroy(server::StrategyKind strategy);

  SyscallTable table_{{"brood::net", "brood::proc", "brood::server"}};
  const ShortDir dir_;
};

int CreateFaultsTest::CreateAndDestroy(server::StrategyKind strategy) {
  const pid_t child = fork();
  if (child == 0) {
    // The output of the server.
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    listen(listener, 8);
    const int inherited = socket(AF_INET, SOCK_STREAM, 0);
    listen(inherited, 8);
    // The copy that the service manager keeps.
    const int kept = fcntl(inherited, F_DUPFD, 100);
    const int manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    dir_.File("n").copy(address.sun_path, sizeof(address.sun_path) - 1);
    unlink(address.sun_path);
    bind(manager, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    unlink(dir_.File("s").c_str());
    server::Options options;
    options.listen = {absl::StrCat("fd:", listener), "inherited", "127.0.0.1:0",
                      dir_.Socket("s").ToString()};
    options.strategy = strategy;
    options.pool.workers = 2;
    options.init = true;
    options.deadlines.first_byte = absl::Seconds(9);
    options.deadlines.peer = absl::Seconds(9);
    options.unix_deadlines = server::UnixDeadlines::kConnectionOnly;
    options.upgrade.command = {"/bin/true"};
    options.notify_socket = address.sun_path;
    options.handler_reports = true;
    const Image before = TakeImage();
    std::vector<server::InheritedListener> given;
    given.push_back(
        {net::UniqueFd::Adopt(fcntl(inherited, F_DUPFD_CLOEXEC, 50)), ""});
    table_.Arm();
    bool created = false;
    {
      auto server = server::TcpServer::Create(
          options, server::EchoHandler(1024), std::move(given));
      created = server.ok();
      if (!created) std::cout << "  " << server.status() << "\n";
    }
    Image after = TakeImage();
    // A server that was created owned the listener.
    if (created)
      after[absl::StrCat("descriptor ", listener)] =
          before.at(absl::StrCat("descriptor ", listener));
    // The listeners that other processes share have changed flags.
    if (created) {
      for (const int fd : {inherited, kept}) {
        after[absl::StrCat("descriptor ", fd)] =
            before.at(absl::StrCat("descriptor ", fd));
      }
    }
    const std::string difference = Difference(before, after);
    std::cout << difference << std::flush;
    _exit(!difference.empty() ? kLeftSomething : created ? kCreated : kRefused);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : status;
}

TEST_F(CreateFaultsTest, FailedCreateRestoresTheProcessAtEachCall) {
  std::set<std::string> tried;
  int refused = 0;
  for (const server::StrategyKind strategy :
       {server::StrategyKind::kZygote, server::StrategyKind::kFork,
        server::StrategyKind::kSpares, server::StrategyKind::kPool,
        server::StrategyKind::kAuto}) {
    SCOPED_TRACE(NameOf(strategy));
    table_.Reset();
    ASSERT_EQ(CreateAndDestroy(strategy), kCreated) << "without a fault";
    std::map<std::string, std::string> run;
    for (const SyscallTable::Site& site : table_.sites()) {
      if (table_.calls(site.name) == 0 || Undoes(site.name)) continue;
      const int64_t number = table_.number(site.name);
      run[site.name] = number < 0 ? site.call : NameOfSyscall(number);
    }
    for (const auto& [site, call] : run) {
      // A site that another strategy has run behaves in the same way here.
      if (!tried.insert(site).second) continue;
      for (const SyscallError& error : ErrorsOf(call)) {
        if (error.passes) continue;
        SCOPED_TRACE(absl::StrCat(site, ": ", strerrorname_np(error.error)));
        table_.Reset();
        table_.Fail(site, error.error);
        const int outcome = CreateAndDestroy(strategy);
        EXPECT_LE(outcome, kRefused);
        refused += outcome == kRefused;
        break;
      }
    }
  }
  std::cout << tried.size() << " sites, " << refused << " refused\n";
  EXPECT_GT(refused, 20);
}

#endif

}  // namespace
}  // namespace brood::testing

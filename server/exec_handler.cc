// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec_handler.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/proc/close_range.h"
#include "brood/proc/launch/argument_pointers.h"
#include "brood/proc/signal_state/signal_state.h"
#include "brood/server/child/system_refused.h"
#include "brood/server/exec/environment.h"
#include "brood/server/exec/executed_program.h"
#include "brood/server/exec/program_file.h"
#include "brood/server/exec/variables.h"
#include "brood/server/text/name_table.h"

namespace brood::server {
namespace {

constexpr NamedValue<ExecStyle> kStyles[] = {
    {ExecStyle::kUcspi, "ucspi"},
    {ExecStyle::kInetd, "inetd"},
    {ExecStyle::kSystemd, "systemd"},
};

// The number of the first descriptor that systemd passes.
constexpr int kFirstListenFd = 3;

// The directories in which programs are searched if this process has no PATH,
// as in a shell.
constexpr char kUsualPath[] = "/usr/local/bin:/usr/bin:/bin";

absl::string_view BaseName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

// Makes `fd` the descriptor `target`, which the program keeps.
void Place(int fd, int target) {
  const int result =
      fd == target ? fcntl(target, F_SETFD, 0) : dup2(fd, target);
  if (result < 0) throw SystemRefused(absl::ErrnoToStatus(errno, "dup2"));
}

// KeptStandardError keeps a copy of standard error until the program is
// executed, and restores it if that fails: the error must go to the log, and
// not to the client.
class KeptStandardError {
 public:
  KeptStandardError()
      : copy_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, kFirstListenFd + 1)) {}
  KeptStandardError(const KeptStandardError&) = delete;
  KeptStandardError& operator=(const KeptStandardError&) = delete;
  ~KeptStandardError() {
    if (copy_ < 0) return;
    dup2(copy_, STDERR_FILENO);
    close(copy_);
  }

 private:
  const int copy_;
};

// Sets what `style` decides.
void SetStyle(ExecStyle style, ExecutedProgram* program) {
  program->descriptors = {STDIN_FILENO, STDOUT_FILENO};
  program->begins_session = style != ExecStyle::kUcspi;
  switch (style) {
    case ExecStyle::kUcspi:
      break;
    case ExecStyle::kInetd:
      // As inetd does, passes the name of the program without its directory.
      program->arguments.front() =
          std::string(BaseName(program->arguments.front()));
      program->descriptors.push_back(STDERR_FILENO);
      program->directory = std::string("/");  // GCC 12 warns of a literal
      program->extra = ExecutedProgram::Extra::kRemoteHost;
      break;
    case ExecStyle::kSystemd:
      program->descriptors.push_back(kFirstListenFd);
      program->extra = ExecutedProgram::Extra::kListenFds;
      break;
  }
}

// Begins the session and changes the directory that the program demands. A
// child that leads a session or a group already, for example because the
// embedder calls this handler from another handler, stays in it.
void ChooseSurroundings(const ExecutedProgram& program) {
  if (program.begins_session && getsid(0) != getpid()) setsid();
  if (!program.directory.empty() && chdir(program.directory.c_str()) < 0) {
    throw SystemRefused(
        absl::ErrnoToStatus(errno, absl::StrCat("chdir ", program.directory)));
  }
}

// Makes `connection` the descriptors of the program. Makes execve() close every
// other descriptor, those of the embedder among them.
void PlaceDescriptors(const ExecutedProgram& program, int connection) {
  for (const int target : program.descriptors) Place(connection, target);
  proc::CloseRangeOnExec(static_cast<unsigned>(
      std::max(STDERR_FILENO, program.descriptors.back()) + 1));
}

// Unblocks every signal, and resets ignored signals, which execve() would leave
// ignored; execve() itself resets signals that have a handler. A signal in
// `stay_ignored` was ignored when the server was started, and stays so, because
// the starter wants that (nohup).
void ResetSignals(const std::vector<int>& stay_ignored) {
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    const bool stays = std::find(stay_ignored.begin(), stay_ignored.end(),
                                 signal) != stay_ignored.end();
    if (!stays && proc::IsIgnored(signal)) proc::SetAction(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

absl::StatusOr<ExecStyle> ParseExecStyle(absl::string_view text) {
  return ParseName(kStyles, "exec_style", text);
}

absl::StatusOr<ExecHandler> ExecHandler::Create(const ExecOptions& options) {
  if (options.command.empty()) {
    return absl::InvalidArgumentError("command: must name a program");
  }
  const char* const directories = std::getenv("PATH");
  absl::StatusOr<std::string> path =
      FindProgram(options.command.front(),
                  directories != nullptr ? directories : kUsualPath);
  if (!path.ok()) return path.status();
  absl::StatusOr<std::vector<std::string>> variables =
      LastingVariables(environ, options.environment);
  if (!variables.ok()) return variables.status();
  auto program = std::make_shared<ExecutedProgram>();
  program->path = *std::move(path);
  program->arguments = options.command;
  program->variables = *std::move(variables);
  program->ignored_signals = proc::IgnoredSignals();
  SetStyle(options.style, program.get());
  return ExecHandler(std::move(program));
}

ExecHandler::ExecHandler(std::shared_ptr<const ExecutedProgram> program)
    : program_(std::move(program)),
      arguments_(proc::ArgumentPointers(program_->arguments)) {}

ChildGroup ExecHandler::group() const {
  return program_->begins_session ? ChildGroup::kSession : ChildGroup::kOwn;
}

const ExecutedProgram* ExecHandler::ProgramOf(const Handler& handler) {
  const auto* const executes = handler.target<ExecHandler>();
  return executes != nullptr ? executes->program_.get() : nullptr;
}

absl::Status ExecHandler::CheckServer(const Options& options) const {
  if (options.strategy == StrategyKind::kPool) {
    return absl::InvalidArgumentError(
        "strategy=pool: must be fork, spares, zygote or auto, because a "
        "program takes the place of the process that executes it");
  }
  // A process that leads a group cannot begin a session.
  if (group() == ChildGroup::kSession && options.children == ChildGroup::kOwn) {
    return absl::InvalidArgumentError(
        "children=group: must be session, because exec_style is inetd or "
        "systemd");
  }
  return absl::OkStatus();
}

// Allocates nothing before execve(), since the kernel would copy the pages that
// an allocation changes.
ExitCode ExecHandler::operator()(net::Connection& connection) const {
  Variables variables(program_->variables);
  program_->AddVariables(connection, &variables);
  const KeptStandardError kept;
  ChooseSurroundings(*program_);
  PlaceDescriptors(*program_, connection.fd());
  ResetSignals(program_->ignored_signals);
  execve(program_->path.c_str(), arguments_.data(), variables.Environment());
  const int error = errno;
  throw SystemRefused(absl::ErrnoToStatus(
      error,
      absl::StrCat("the program cannot be executed: execve ", program_->path)));
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_
#define BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_

#include <sys/types.h>

#include <csignal>
#include <cstddef>
#include <string>
#include <vector>

#include "brood/net/unique_fd.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/program.h"
#include "brood/proc/reaper.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generations.h"

namespace brood::server {

// ManagedGenerations is the implementation for a program with a service manager
// that is notified (NOTIFY_SOCKET). A notification (MAINPID) names the program
// that has taken over, and the manager watches that one from then on. So the
// old program exits when its connections have ended. It reaps the new program
// until that has taken over.
//
// A manager may stop only the main process, and kill what is left when that has
// ended (KillMode=mixed). So each program has pidfds of the older ones, and
// stops them and waits for them. Where the kernel has no pidfds (before Linux
// 5.3), older programs are left to the manager, and are not counted.
class ManagedGenerations final : public Generations {
 public:
  // Makes the generations for options.upgrade and options.notify_socket.
  // `older` are the pidfds of the programs that were replaced before.
  // `manager`, `reaper` and `log` outlive this object.
  ManagedGenerations(const Options& options, std::vector<net::UniqueFd> older,
                     ServiceManager* manager, proc::Reaper* reaper,
                     EventLog* log, StartFunction start = proc::StartProgram);

  absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) override;
  void Kill(pid_t pid) override;
  void StopCandidate(pid_t pid) override;
  absl::optional<proc::ExitStatus> HandOver(pid_t pid) override;
  Requests::Taken Route(Requests::Taken asked) override;
  int fd() const override { return ends_.fd(); }
  Messages Attend() override;
  void StopAll() override { SignalOlder(SIGTERM); }
  void KillAll(net::Instant now) override;
  Role Ended(pid_t /*pid*/, const proc::ExitStatus& /*status*/) override {
    candidate_ = 0;
    return Role::kCandidate;
  }
  // A program that was replaced exits when its own connections have ended, so
  // it waits for no other.
  size_t awaited() const override { return is_old_ ? 0 : older_.size(); }
  absl::optional<proc::ExitStatus> last_status() const override {
    return absl::nullopt;
  }

 private:
  // Sends `signal` to each older program, unless this one was replaced. Ignores
  // errors: the program may have ended.
  void SignalOlder(int signal) const;
  // Closes the pidfds of the older programs that have ended. Does not wait.
  void ForgetEnded();

  const std::vector<std::string> command_;
  const std::string notify_socket_;
  ServiceManager* const manager_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const StartFunction start_;
  // The pidfds of the programs before this one that have not ended.
  std::vector<proc::Private<net::UniqueFd>> older_;
  // Readable when one of them has ended.
  proc::Private<net::UniqueFd> ends_;
  // The pid of the new program; 0 if there is none.
  pid_t candidate_ = 0;
  // Whether another program has taken over.
  bool is_old_ = false;
  net::Instant kill_at_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_

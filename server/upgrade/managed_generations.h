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

// ManagedGenerations is the side of a program whose service manager was told
// where to be notified (NOTIFY_SOCKET): the manager follows the program that
// has taken over, because it is told so (MAINPID). So the old program leaves
// when its connections have ended. The new one is reaped here until it has
// taken over.
//
// A manager may ask the main process alone to stop, and kill what is left when
// that has ended (KillMode=mixed). So each program has pidfds of the older
// ones, which it asks to stop and waits for. Where the kernel has no pidfds
// (before Linux 5.3), older programs are left to the manager, and are not
// counted.
class ManagedGenerations final : public Generations {
 public:
  // By options.upgrade and notify_socket. `older` are the pidfds of the
  // programs that were replaced before. The others outlive this object.
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
  // What was replaced leaves when its own connections have ended.
  size_t awaited() const override { return is_old_ ? 0 : older_.size(); }
  absl::optional<proc::ExitStatus> last_status() const override {
    return absl::nullopt;
  }

 private:
  void SignalOlder(int signal) const;
  void ForgetEnded();

  const std::vector<std::string> command_;
  const std::string notify_socket_;
  ServiceManager* const manager_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const StartFunction start_;
  // The pidfds of the programs before this one that have not ended.
  std::vector<proc::Private<net::UniqueFd>> older_;
  // Is readable when one of them has ended.
  proc::Private<net::UniqueFd> ends_;
  // Is 0 if there is none.
  pid_t candidate_ = 0;
  // Whether another program has taken over.
  bool is_old_ = false;
  net::Instant kill_at_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_

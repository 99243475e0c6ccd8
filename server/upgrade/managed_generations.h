// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_
#define BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "brood/proc/program.h"
#include "brood/proc/reaper.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generations.h"

namespace brood::server {

// ManagedGenerations is the side of a program whose service manager was told
// where to be notified (NOTIFY_SOCKET): the manager follows the program that
// has taken over, because it is told so (MAINPID), and stops all processes of
// the service itself. So the old program leaves when its connections have
// ended. The new one is reaped here until it has taken over.
class ManagedGenerations final : public Generations {
 public:
  // By options.upgrade and notify_socket. The others outlive this object.
  ManagedGenerations(const Options& options, ServiceManager* manager,
                     proc::Reaper* reaper, EventLog* log,
                     StartFunction start = proc::StartProgram);

  absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) override;
  void Kill(pid_t pid) override;
  void StopCandidate(pid_t pid) override;
  absl::optional<proc::ExitStatus> HandOver(pid_t pid) override;
  Requests::Taken Route(Requests::Taken asked) override { return asked; }
  int fd() const override { return -1; }
  Messages Attend() override { return Messages(); }
  void StopAll() override {}
  void KillAll(net::Instant now) override;
  Role Ended(pid_t /*pid*/, const proc::ExitStatus& /*status*/) override {
    candidate_ = 0;
    return Role::kCandidate;
  }
  absl::optional<proc::ExitStatus> last_status() const override {
    return absl::nullopt;
  }

 private:
  const std::vector<std::string> command_;
  const std::string notify_socket_;
  ServiceManager* const manager_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const StartFunction start_;
  // Is 0 if there is none.
  pid_t candidate_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_MANAGED_GENERATIONS_H_

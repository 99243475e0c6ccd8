// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_MAIN_PROCESS_H_
#define BROOD_SERVER_UPGRADE_MAIN_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "brood/net/socket.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/program.h"
#include "brood/proc/reaper.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generation_link.h"
#include "brood/server/upgrade/generations.h"

namespace brood::server {

// MainProcess is the side of the process that was started first: the one that
// a shell, a supervisor or a container watches, and stops.
//
// It starts every generation, so that each is its child and is reaped by it,
// and none is the child of an older one: however many upgrades there are, there
// is one process more than have connections. When it has handed over it has no
// listener; its own connections end, and then it waits for the other
// generations. A request to stop is for all generations, and a request to
// upgrade for the newest. Requests that were made of a generation come back to
// this one: a signal has the same effect whichever process it was sent to. Of
// the requests to stop the highest number from one source counts, so that a
// signal for all processes of the server is one request.
//
// If the newest generation ends without having been asked to, the service has
// ended. If it had asked for a next one, which has not taken over yet, that one
// is the newest now.
class MainProcess final : public Generations {
 public:
  // By options.upgrade and notify_socket. The others outlive this object.
  MainProcess(const Options& options, ServiceManager* manager,
              proc::Reaper* reaper, EventLog* log,
              StartFunction start = proc::StartProgram);

  absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) override;
  void Kill(pid_t pid) override;
  void StopCandidate(pid_t pid) override;
  absl::optional<proc::ExitStatus> HandOver(pid_t pid) override;
  Requests::Taken Route(Requests::Taken asked) override;
  int fd() const override { return links_.fd(); }
  Messages Attend() override;
  void StopAll() override;
  void KillAll(net::Instant now) override;
  Role Ended(pid_t pid, const proc::ExitStatus& status) override;
  size_t awaited() const override { return 0; }
  absl::optional<proc::ExitStatus> last_status() const override {
    return last_status_;
  }

 private:
  // The starter of the first generation.
  static constexpr pid_t kSelf = 0;

  // Generation is a program that was started and has not ended.
  struct Generation {
    pid_t pid;
    // Identifies the generation that has asked for it.
    pid_t starter;
    GenerationLink link;
    // Says whether it has taken over.
    bool has_taken_over = false;
    // Counts the requests to stop that were made of it.
    int stops = 0;
    // Holds descriptors for the next program, until it asks for that.
    std::vector<proc::Private<net::Socket>> descriptors;
  };
  using Pointer = std::unique_ptr<Generation>;

  absl::StatusOr<pid_t> StartFor(pid_t starter, const std::vector<int>& fds,
                                 const std::string& variable);
  void Handle(Generation& from, GenerationLink::Received message,
              Messages* messages);
  void StartForGeneration(Generation& from, const std::string& variable);
  void AskForUpgrade(Messages* messages);
  int CountStops(int stops_of_source);
  void TakenOver(Generation& candidate);
  Generation* Find(pid_t pid);
  Generation* Candidate();
  bool IsCandidate(pid_t pid);
  int old() const;

  const std::vector<std::string> command_;
  const std::string notify_socket_;
  ServiceManager* const manager_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const StartFunction start_;
  // Is readable when one of the links is.
  proc::Private<net::UniqueFd> links_;
  std::vector<Pointer> generations_;
  // The one that serves; null if it is this program, or it has ended.
  Generation* newest_ = nullptr;
  // Counts the requests to stop that were made of this process.
  int own_stops_ = 0;
  // Counts those that were acted upon.
  int stops_ = 0;
  net::Instant kill_at_ = net::Never();
  absl::optional<proc::ExitStatus> last_status_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_MAIN_PROCESS_H_

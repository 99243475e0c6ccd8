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

// MainProcess is the implementation for the process that was started first: the
// one that a shell, a service manager or a container watches, and stops.
//
// It starts every generation, so that each is its child and is reaped by it,
// and none is the child of an older one: however many upgrades there are, this
// process is the only one that stays without connections. After an upgrade it
// has no listener; its own connections end, and then it waits for the other
// generations. A request to stop is for all generations, and a request for an
// upgrade is for the newest one. Generations pass their requests to this
// process, so a signal has the same effect whichever process it is sent to. Of
// the requests to stop, the highest number from one source counts, so that a
// signal for all processes of the server is one request.
//
// If the newest generation ends although no stop was requested, the service has
// ended. But if it had started an upgrade, and the candidate has not taken over
// yet, the candidate becomes the newest generation.
class MainProcess final : public Generations {
 public:
  // Makes the generations for options.upgrade and options.notify_socket.
  // `manager`, `reaper` and `log` outlive this object.
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
  // The starter of the first generation: this process.
  static constexpr pid_t kSelf = 0;

  // Generation is a program that was started and has not ended.
  struct Generation {
    pid_t pid;
    // The generation that has asked for it, or kSelf.
    pid_t starter;
    GenerationLink link;
    // Whether it has taken over.
    bool has_taken_over = false;
    // The number of requests to stop that were made of it.
    int stops = 0;
    // The descriptors that it has sent for the next program, until it asks for
    // the start.
    std::vector<proc::Private<net::Socket>> descriptors;
  };
  using Pointer = std::unique_ptr<Generation>;

  // Starts a program for the generation `starter`, with the descriptors `fds`
  // and the `variable` of the handshake, and returns its pid. On an error no
  // program was started.
  absl::StatusOr<pid_t> StartFor(pid_t starter, const std::vector<int>& fds,
                                 const std::string& variable);
  // Does what a message of the generation `from` asks for. Adds to `messages`
  // what it requests of this program.
  void Handle(Generation& from, GenerationLink::Received message,
              Messages* messages);
  // Starts a program with the descriptors that `from` has sent, and sends it
  // the pid or the error. Refuses while there is a candidate. Kills the program
  // if the pid cannot be sent.
  void StartForGeneration(Generation& from, const std::string& variable);
  // Passes a request for an upgrade to the newest generation: to `messages` if
  // that is this program. Logs and drops it if too many old generations are
  // left.
  void AskForUpgrade(Messages* messages);
  // Returns how many requests to stop are new, if one source has made
  // `stops_of_source` of them so far, and counts them.
  int CountStops(int stops_of_source);
  // Makes `candidate` the newest generation.
  void TakenOver(Generation& candidate);
  // Returns the generation with the pid `pid`; null if there is none.
  Generation* Find(pid_t pid);
  // Returns the generation that has not taken over yet; null if there is none.
  Generation* Candidate();
  // Reports whether `pid` is the pid of Candidate().
  bool IsCandidate(pid_t pid);
  // Returns how many generations have been replaced and have not ended, without
  // this program.
  int old() const;

  const std::vector<std::string> command_;
  const std::string notify_socket_;
  ServiceManager* const manager_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const StartFunction start_;
  // Readable when one of the links is.
  proc::Private<net::UniqueFd> links_;
  std::vector<Pointer> generations_;
  // The generation that serves; null if it is this program, or has ended.
  Generation* newest_ = nullptr;
  // The number of requests to stop that were made of this process.
  int own_stops_ = 0;
  // The number of requests to stop that were fulfilled.
  int stops_ = 0;
  net::Instant kill_at_ = net::Never();
  absl::optional<proc::ExitStatus> last_status_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_MAIN_PROCESS_H_

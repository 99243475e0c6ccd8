// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_LINKED_GENERATION_H_
#define BROOD_SERVER_UPGRADE_LINKED_GENERATION_H_

#include <sys/types.h>

#include <utility>

#include "brood/server/upgrade/generation_link.h"
#include "brood/server/upgrade/generations.h"

namespace brood::server {

// LinkedGeneration is the implementation for a program that a main process has
// started.
//
// Requests of this program are passed to the main process, which passes them to
// every generation that they concern, this one included. The main process also
// starts and reaps the next program, which is therefore not a child of this
// one: this one may end first. When the main process has ended, this program is
// on its own: it fulfils requests itself, and there are no more upgrades.
class LinkedGeneration final : public Generations {
 public:
  // Takes ownership of `link`, which leads to the main process.
  explicit LinkedGeneration(GenerationLink link) : link_(std::move(link)) {}

  absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) override;
  void Kill(pid_t pid) override;
  void StopCandidate(pid_t pid) override;
  absl::optional<proc::ExitStatus> HandOver(pid_t pid) override;
  Requests::Taken Route(Requests::Taken asked) override;
  int fd() const override { return link_.fd(); }
  Messages Attend() override;
  void StopAll() override {}
  void KillAll(net::Instant /*now*/) override {}
  Role Ended(pid_t /*pid*/, const proc::ExitStatus& /*status*/) override {
    return Role::kOld;
  }
  size_t awaited() const override { return 0; }
  absl::optional<proc::ExitStatus> last_status() const override {
    return absl::nullopt;
  }

 private:
  GenerationLink link_;
  // The program that the main process has started for this one; 0 if there is
  // none.
  pid_t candidate_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_LINKED_GENERATION_H_

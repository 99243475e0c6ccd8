// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/child_settings.h"

#include <csignal>

#include "brood/server/process/preparation.h"

namespace brood::server {

proc::ChildSettings SettingsOfChildren(const Options& options) {
  proc::ChildSettings settings;
  switch (options.children) {
    case ChildGroup::kOwn:
      settings.group = proc::ProcessGroup::kOwn;
      break;
    case ChildGroup::kSession:
      settings.group = proc::ProcessGroup::kOwnSession;
      break;
    case ChildGroup::kInherit:
      settings.group = proc::ProcessGroup::kInherited;
      break;
  }
  settings.ignored = {SIGHUP, SIGUSR2};
  settings.ignored_as_in_parent = {SIGINT, SIGQUIT};
  settings.descriptors = Preparation::OfThisProcess().descriptors_before();
  settings.own_stack_canary = options.hardening.stack_canary;
  return settings;
}

}  // namespace brood::server

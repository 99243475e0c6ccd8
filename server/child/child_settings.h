// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_CHILD_SETTINGS_H_
#define BROOD_SERVER_CHILD_CHILD_SETTINGS_H_

#include "brood/proc/spawn.h"
#include "brood/server/options.h"

namespace brood::server {

// Returns the settings with which children of the server begin. A child ignores
// the signals by which an upgrade of the server is requested. A signal that was
// ignored when the program was started, as for a background job of a shell,
// stays ignored. A child has the limit of descriptors that the process had
// before PrepareProcess() raised it, and a stack canary of its own unless the
// options turn that off.
//
// Runs in the parent, once for each server.
//
// Example:
//   auto spawner =
//       proc::CloneSpawner::Create(exit_signal, SettingsOfChildren(options));
proc::ChildSettings SettingsOfChildren(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_CHILD_SETTINGS_H_

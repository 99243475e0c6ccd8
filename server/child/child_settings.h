// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_CHILD_SETTINGS_H_
#define BROOD_SERVER_CHILD_CHILD_SETTINGS_H_

#include "brood/proc/spawn.h"
#include "brood/server/options.h"

namespace brood::server {

// Returns what a child of the server is like when it begins. It outlives the
// signals by which the server is asked for an upgrade. A signal that was
// ignored when the program was started, as a shell does it for a job in the
// background, stays ignored. A limit of descriptors that PrepareProcess() has
// raised is what it was before. Its stack canary is its own, unless the options
// say otherwise.
//
// Runs in the parent, once for each server.
//
// Example:
//   auto spawner =
//       proc::CloneSpawner::Create(exit_signal, SettingsOfChildren(options));
proc::ChildSettings SettingsOfChildren(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_CHILD_SETTINGS_H_

// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/sync_point.h"

#include <utility>

namespace brood::proc {

#ifndef NDEBUG
namespace {

SyncPointHook current_hook = nullptr;

}  // namespace

void SyncPoint(const char* name) {
  const SyncPointHook hook = std::exchange(current_hook, nullptr);
  if (hook == nullptr) return;
  hook(name);
  if (current_hook == nullptr) current_hook = hook;
}

void SetSyncPointHook(SyncPointHook hook) { current_hook = hook; }
#endif

}  // namespace brood::proc

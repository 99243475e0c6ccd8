// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_SYNC_POINT_H_
#define BROOD_PROC_SYNC_POINT_H_

namespace brood::proc {

// SyncPointHook is a function that a test runs at each SyncPoint, with the name
// of that point.
using SyncPointHook = void (*)(const char* name);

#ifdef NDEBUG
// Whether this build has SyncPoints: an optimized build has none.
inline constexpr bool kSyncPoints = false;
// Does nothing in this build.
inline void SyncPoint(const char* /*name*/) {}
// Does nothing in this build.
inline void SetSyncPointHook(SyncPointHook /*hook*/) {}
#else
// Whether this build has SyncPoints: an optimized build has none.
inline constexpr bool kSyncPoints = true;
// Calls the hook, if there is one, with `name`. Does nothing in an optimized
// build (NDEBUG).
//
// Marks a place between two steps of which another process can run first, and
// is named for the step just done, or about to be done. Whether a child ends
// before it is in a table depends on a few microseconds: a hook can make either
// happen, each time. Works in every process; a child inherits the hook. No
// errors. Not thread-safe.
//
// Example:
//   const pid_t pid = Clone();
//   SyncPoint("spawn: cloned");  // it may have ended by now
//   table.Insert(pid);
void SyncPoint(const char* name);
// Sets the hook of this process and of the children that it creates from now
// on; null for none. A hook may itself pass points, and is not called for
// these.
void SetSyncPointHook(SyncPointHook hook);
#endif

}  // namespace brood::proc

#endif  // BROOD_PROC_SYNC_POINT_H_

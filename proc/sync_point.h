// SPDX-License-Identifier: Apache-2.0

// SyncPoint: a named place in the code where a test can make something happen.
//
// Which of two things comes first, the death of a child or its entry in the
// books, is decided by a few microseconds. A test that sets a hook is called at
// each point, in the process that runs there, and can make them go either way,
// every time.
//
// Works in any process; a child inherits the hook. Not there in optimized
// builds (NDEBUG), where a point is nothing at all; kSyncPoints says which.
// Points are for places between two steps that could be torn apart, and are
// named for what has just been done, or is about to be. Nothing can fail. Not
// for threads.
//
// Example:
//   const pid_t pid = Clone();
//   SyncPoint("spawn: cloned");  // it may have ended by now
//   books.Insert(pid);

#ifndef BROOD_PROC_SYNC_POINT_H_
#define BROOD_PROC_SYNC_POINT_H_

namespace brood::proc {

// Called with the name of the point.
using SyncPointHook = void (*)(const char* name);

#ifdef NDEBUG
inline constexpr bool kSyncPoints = false;
inline void SyncPoint(const char* /*name*/) {}
inline void SetSyncPointHook(SyncPointHook /*hook*/) {}
#else
inline constexpr bool kSyncPoints = true;
void SyncPoint(const char* name);
// From now on, in this process and in its children to come; null for none. A
// hook may itself pass points, and is not called for these.
void SetSyncPointHook(SyncPointHook hook);
#endif

}  // namespace brood::proc

#endif  // BROOD_PROC_SYNC_POINT_H_

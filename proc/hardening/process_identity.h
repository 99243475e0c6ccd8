// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_HARDENING_PROCESS_IDENTITY_H_
#define BROOD_PROC_HARDENING_PROCESS_IDENTITY_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace brood::proc {

// ProcessIdentity is what decides about the rights of a process, and of what it
// forks: what it may do, and on which files, processes and networks.
//
// It holds the user and group ids (real, effective, saved and of the file
// system), the supplementary groups, the capabilities (effective, permitted,
// inheritable, bounding and ambient), no_new_privs, the secure bits, whether
// system calls are filtered, the root directory and the namespaces. The working
// directory, the umask, limits and priorities are not rights, and not part of
// it. Landlock rules and the labels of security modules cannot be compared; a
// program that gives up rights by them alone must do so before it forks.
//
// Works in every process, by system calls; the namespaces need /proc, and are
// left out without it. A value. No errors: what the kernel does not tell is the
// same in both.
//
// Example:
//   const ProcessIdentity before = ProcessIdentity::Look();
//   ...
//   const std::string changed = before.DifferenceTo(ProcessIdentity::Look());
//   if (!changed.empty()) ...  // "the effective user id"
class ProcessIdentity {
 public:
  // Returns the identity that the calling thread has now. Takes some 70 us.
  static ProcessIdentity Look();
  // Sets `now` to it in 5 us, for a loop: what takes long to look at, and gives
  // this process itself no rights, is taken from this object. That is the
  // bounding and the ambient capabilities, and the namespaces. With the same
  // `now` each time, it allocates only if there are more groups than before.
  void LookAgain(ProcessIdentity* now) const;

  // Returns what differs in `other`, as a phrase; empty if nothing does.
  std::string DifferenceTo(const ProcessIdentity& other) const;

 private:
  // An inode: of the root directory, or of a namespace.
  struct Place {
    uint64_t device = 0;
    uint64_t number = 0;
  };
  static constexpr int kNamespaces = 8;

  // Looks at all but the sets and the namespaces that only Look() looks at.
  void LookAtRights();
  static Place PlaceOf(const char* path);

  // Real, effective, saved, and of the file system.
  std::array<uid_t, 4> users_ = {};
  std::array<gid_t, 4> groups_ = {};
  std::vector<gid_t> supplementary_;
  // Effective, permitted and inheritable, 64 bits each.
  std::array<uint64_t, 3> capabilities_ = {};
  uint64_t bounding_ = 0;
  uint64_t ambient_ = 0;
  int no_new_privs_ = 0;
  int secure_bits_ = 0;
  int seccomp_ = 0;
  Place root_;
  std::array<Place, kNamespaces> namespaces_ = {};
};

}  // namespace brood::proc

#endif  // BROOD_PROC_HARDENING_PROCESS_IDENTITY_H_

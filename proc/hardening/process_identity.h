// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_HARDENING_PROCESS_IDENTITY_H_
#define BROOD_PROC_HARDENING_PROCESS_IDENTITY_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace brood::proc {

// ProcessIdentity is the state that determines the rights of a process and of
// the processes that it forks.
//
// It holds the user and group ids (real, effective, saved and of the file
// system), the supplementary groups, the capabilities (effective, permitted,
// inheritable, bounding and ambient), no_new_privs, the secure bits, whether
// system calls are filtered, the root directory and the namespaces. The working
// directory, the umask, limits and priorities are not rights, and are not
// included. Landlock rules and labels of security modules cannot be compared: a
// program that gives up rights by these alone must do so before it forks.
//
// A value, for every process. The namespaces need /proc, and are left out
// without it. No errors: a part that the kernel does not report counts as
// equal.
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
  // Sets `now` to it in 5 us, for a loop. The parts that take long to read, and
  // that give this process itself no rights, are copied from this object: the
  // bounding and the ambient capabilities, and the namespaces. With the same
  // `now` each time, it allocates only if there are more groups than before.
  void LookAgain(ProcessIdentity* now) const;

  // Returns the part that differs in `other`, as a phrase for a log; empty if
  // none does.
  std::string DifferenceTo(const ProcessIdentity& other) const;

 private:
  // Place is the inode of the root directory, or of a namespace.
  struct Place {
    uint64_t device = 0;
    uint64_t number = 0;
  };
  static constexpr int kNamespaces = 8;

  // Reads all parts except those that only Look() reads.
  void LookAtRights();
  // Returns the device and the inode of the file at `path`; zeros if it cannot
  // be read.
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

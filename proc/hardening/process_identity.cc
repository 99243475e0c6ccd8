// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/hardening/process_identity.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace brood::proc {
namespace {

// Reads the file system id without changing it: for the argument -1, which is
// not a valid id, the kernel changes nothing and returns the current id.
constexpr uid_t kNoChange = static_cast<uid_t>(-1);

constexpr const char* kNamespacePaths[] = {
    "/proc/self/ns/cgroup",
    "/proc/self/ns/ipc",
    "/proc/self/ns/mnt",
    "/proc/self/ns/net",
    "/proc/self/ns/pid_for_children",
    "/proc/self/ns/time_for_children",
    "/proc/self/ns/user",
    "/proc/self/ns/uts",
};

// Returns a number with the bits for which `has` returns true.
template <typename Has>
uint64_t SetOf(Has has) {
  uint64_t set = 0;
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (has(capability)) set |= uint64_t{1} << capability;
  }
  return set;
}

}  // namespace

void ProcessIdentity::LookAtRights() {
  getresuid(&users_[0], &users_[1], &users_[2]);
  getresgid(&groups_[0], &groups_[1], &groups_[2]);
  users_[3] = static_cast<uid_t>(setfsuid(kNoChange));
  groups_[3] = static_cast<gid_t>(setfsgid(kNoChange));
  const int count = getgroups(0, nullptr);
  supplementary_.resize(static_cast<size_t>(std::max(count, 0)));
  if (count > 0 && getgroups(count, supplementary_.data()) < 0) {
    supplementary_.clear();
  }
  std::sort(supplementary_.begin(), supplementary_.end());

  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) == 0) {
    const auto joined = [&](auto field) {
      return data[0].*field | uint64_t{data[1].*field} << 32;
    };
    capabilities_ = {joined(&__user_cap_data_struct::effective),
                     joined(&__user_cap_data_struct::permitted),
                     joined(&__user_cap_data_struct::inheritable)};
  }
  no_new_privs_ = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  secure_bits_ = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
  seccomp_ = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
  root_ = PlaceOf("/");
}

ProcessIdentity::Place ProcessIdentity::PlaceOf(const char* path) {
  struct stat status;
  if (stat(path, &status) < 0) return Place();
  return Place{status.st_dev, status.st_ino};
}

ProcessIdentity ProcessIdentity::Look() {
  ProcessIdentity now;
  now.LookAtRights();
  now.bounding_ = SetOf([](int capability) {
    return prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1;
  });
  now.ambient_ = SetOf([](int capability) {
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1;
  });
  static_assert(std::size(kNamespacePaths) == kNamespaces,
                "one place for each");
  for (size_t i = 0; i < now.namespaces_.size(); ++i) {
    now.namespaces_[i] = PlaceOf(kNamespacePaths[i]);
  }
  return now;
}

void ProcessIdentity::LookAgain(ProcessIdentity* now) const {
  *now = *this;
  now->LookAtRights();
}

std::string ProcessIdentity::DifferenceTo(const ProcessIdentity& other) const {
  const auto same = [](const Place& a, const Place& b) {
    return a.device == b.device && a.number == b.number;
  };
  if (users_ != other.users_) return "the user id";
  if (groups_ != other.groups_) return "the group id";
  if (supplementary_ != other.supplementary_) return "the groups";
  if (capabilities_ != other.capabilities_ || bounding_ != other.bounding_ ||
      ambient_ != other.ambient_) {
    return "the capabilities";
  }
  if (no_new_privs_ != other.no_new_privs_) return "no_new_privs";
  if (secure_bits_ != other.secure_bits_) return "the secure bits";
  if (seccomp_ != other.seccomp_) return "the filter of system calls";
  if (!same(root_, other.root_)) return "the root directory";
  for (size_t i = 0; i < namespaces_.size(); ++i) {
    if (!same(namespaces_[i], other.namespaces_[i])) return "a namespace";
  }
  return "";
}

}  // namespace brood::proc

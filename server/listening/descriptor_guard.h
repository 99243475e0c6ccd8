// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_DESCRIPTOR_GUARD_H_
#define BROOD_SERVER_LISTENING_DESCRIPTOR_GUARD_H_

#include <array>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/unique_fd.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"

namespace brood::server {

// DescriptorGuard restores the listeners of the embedder if a server cannot be
// created.
//
// A server owns the descriptor N of an entry "fd:N" from its creation on, and
// changes its flags and socket options, as it does with inherited listeners.
// Unless Keep() was called, the destructor opens each such number again, with
// the flags and options that it had. Inherited listeners were passed by value
// and stay closed; but other processes may have them too, so their flags and
// options are restored.
//
// Lives in the parent while a server is created, and is destroyed after every
// part of a server that failed. Errors: the errno of fcntl, if no descriptor is
// free.
//
// Example:
//   auto guard = DescriptorGuard::Create(options, inherited);
//   ... if all succeeds: guard->Keep();
class DescriptorGuard {
 public:
  // Records the state of the descriptors that `options` name, and of
  // `inherited`.
  static absl::StatusOr<DescriptorGuard> Create(
      const Options& options, const std::vector<InheritedListener>& inherited);
  DescriptorGuard(DescriptorGuard&& other) noexcept = default;
  // Restores the descriptors, unless Keep() was called.
  ~DescriptorGuard();

  // Leaves the descriptors to the server.
  void Keep() { noted_.clear(); }

 private:
  static constexpr int kOptions = 6;

  // Noted is the state of one descriptor.
  struct Noted {
    // Its number; -1 if it is not opened again.
    int number = -1;
    // A copy, which keeps the open file.
    net::UniqueFd copy;
    int descriptor_flags = 0;
    int status_flags = 0;
    // The values of the socket options; -1 for an option that the socket does
    // not have.
    std::array<int, kOptions> options = {};
  };

  DescriptorGuard() = default;

  // Records `fd`, which is opened again if `by_number`.
  absl::Status Note(int fd, bool by_number);
  // Restores a descriptor, unless other code of the program has opened a file
  // with the number since. Restores the flags and options of the open file in
  // any case. Ignores errors.
  static void Restore(const Noted& noted);

  std::vector<Noted> noted_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_DESCRIPTOR_GUARD_H_

// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_PRIVATE_FDS_H_
#define BROOD_PROC_PRIVATE_FDS_H_

#include <array>
#include <cstddef>
#include <utility>

#include "absl/types/span.h"

namespace brood::proc {

// PrivateFdRegistration: registers a descriptor of this process as private,
// that is, closed in every child.
//
// A child inherits every descriptor, and some of them must not stay open there:
// a listener keeps its port in use, a queue never ends. Each child of each
// Spawner in this process closes the registered descriptors before it does
// anything else, so that two servers in one program do not leak descriptors
// into each other's children.
//
// Lives in the parent. The caller still owns the descriptor, and must end the
// registration before it closes the descriptor: the kernel may reuse the number
// for a connection, which children must not close. Private<Owner> keeps that
// order. Registrations belong to one process: a child starts with none.
// Thread-safe. No errors.
//
// Example:
//   int fd = epoll_create1(EPOLL_CLOEXEC);
//   PrivateFdRegistration registration(fd);
class PrivateFdRegistration {
 public:
  // Registers nothing.
  PrivateFdRegistration() = default;
  // Registers `fd`, or nothing if it is negative.
  explicit PrivateFdRegistration(int fd);

  // Takes over the registration of `other`.
  PrivateFdRegistration(PrivateFdRegistration&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  // Exchanges the registrations.
  PrivateFdRegistration& operator=(PrivateFdRegistration&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  // Ends the registration.
  ~PrivateFdRegistration();

 private:
  int fd_ = -1;
};

namespace internal {

// Returns the descriptors of an owner of several.
template <typename Owner>
auto FdsOf(const Owner& owner, int /*preferred*/) -> decltype(owner.fds()) {
  return owner.fds();
}

// Returns the descriptor of an owner of one.
template <typename Owner>
std::array<int, 1> FdsOf(const Owner& owner, ...) {
  return {owner.fd()};
}

}  // namespace internal

// Private: the owner of a descriptor and its registration as private, in one.
//
// `Owner` is a resource with `int fd() const`, or with `std::array<int, N>
// fds() const` if it owns several descriptors. The registration begins when the
// owner is moved in and ends before the owner closes anything. The owner is
// lent as const, so that nothing but this class can close it. Moved, never
// copied. Lives in the parent. No errors.
//
// Example:
//   Private<SignalInbox> inbox(*SignalInbox::Create({SIGTERM}));
//   while (inbox->TryTake()) Drain();
template <typename Owner>
class Private {
 public:
  // Owns nothing.
  Private() = default;
  // Takes `owner` over and registers its descriptors.
  explicit Private(Owner owner) : owner_(std::move(owner)) {
    const auto fds = internal::FdsOf(owner_, 0);
    for (size_t i = 0; i < kCount; ++i) {
      registrations_[i] = PrivateFdRegistration(fds[i]);
    }
  }

  // Takes over the owner of `other` and its registration.
  Private(Private&& other) noexcept = default;
  // Ends the registration, closes the owner held so far, and takes over those
  // of `other`.
  Private& operator=(Private&& other) noexcept {
    if (this == &other) return *this;
    registrations_ = {};
    owner_ = std::move(other.owner_);
    registrations_ = std::move(other.registrations_);
    return *this;
  }
  // Ends the registration, and then closes the owner.
  ~Private() = default;

  // Lends the owner.
  const Owner& operator*() const { return owner_; }
  // Lends the owner.
  const Owner* operator->() const { return &owner_; }
  // Lends the descriptor of an owner of one.
  int fd() const { return owner_.fd(); }

  // Ends the registration, and then calls Close() of the owner.
  void Close() {
    registrations_ = {};
    owner_.Close();
  }

 private:
  static constexpr size_t kCount = std::tuple_size<decltype(internal::FdsOf(
      std::declval<const Owner&>(), 0))>::value;

  Owner owner_;
  // Declared after the owner, so that it is destroyed before the owner.
  std::array<PrivateFdRegistration, kCount> registrations_;
};

// Closes the registered descriptors except `kept`, which is in ascending order.
// Called by the Spawner, in a child.
void ClosePrivateFds(absl::Span<const int> kept);

// Reserves memory, so that the next `more` registrations allocate nothing.
void ReservePrivateFds(size_t more);

// Clears the registrations that this process has inherited from its parent.
// Called in a process that is about to create its own children: the descriptors
// of the parent are closed here, and their numbers stand for other ones.
void ForgetPrivateFdsOfParent();

}  // namespace brood::proc

#endif  // BROOD_PROC_PRIVATE_FDS_H_

// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/fake_service_manager.h"

#include <poll.h>
#include <sys/socket.h>

#include <cstddef>

#include "gtest/gtest.h"

namespace brood::testing {

FakeServiceManager::FakeServiceManager(const net::Endpoint& endpoint)
    : socket_(net::Socket::Adopt(
          socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))) {
  EXPECT_EQ(bind(socket_.fd(), endpoint.address(), endpoint.address_length()),
            0);
}

std::string FakeServiceManager::NextWord(absl::Duration timeout) const {
  pollfd waiting = {socket_.fd(), POLLIN, 0};
  poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  char word[256];
  const ssize_t length = recv(socket_.fd(), word, sizeof(word), 0);
  return length < 0 ? "" : std::string(word, static_cast<size_t>(length));
}

}  // namespace brood::testing

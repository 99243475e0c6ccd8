// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_FLAT_FIELDS_H_
#define BROOD_SERVER_LOG_FLAT_FIELDS_H_

#include <array>
#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/server/log/event.h"
#include "brood/server/log_level.h"

namespace brood::server {

// FlatFields is the fields of an event as data: integers and texts, each under
// a key of server/log/json_keys.txt. An address is a text and a number, a
// duration a number of nanoseconds, and what only fills a placeholder is left
// out.
//
// It holds the texts of addresses, and refers to the other texts of the event,
// which must outlive it. Allocates nothing.
//
// Example:
//   const FlatFields flat(event);
//   for (const LogField& field : flat.fields()) ...
class FlatFields {
 public:
  // Converts the fields of `event`.
  explicit FlatFields(const Event& event);
  FlatFields(const FlatFields&) = delete;
  FlatFields& operator=(const FlatFields&) = delete;

  // Returns the fields in the order of the event.
  absl::Span<const LogField> fields() const { return {fields_.data(), count_}; }

 private:
  // The largest number of addresses in an event. Each is at most four fields.
  static constexpr size_t kMaxAddresses = 3;

  // Appends a field, for which the array has room.
  void Add(absl::string_view key, LogField::Value value);
  // Adds the address of a client as client.address and client.port, any other
  // address as server.address and server.port. Adds network.transport, too,
  // except for the local address of a connection. Adds the text of a listener
  // as brood.listener.
  void AddAddress(absl::string_view key, const AddressView& address);

  size_t count_ = 0;
  size_t addresses_ = 0;
  std::array<LogField, Event::kMaxFields + 3 * kMaxAddresses> fields_;
  char address_texts_[kMaxAddresses][AddressView::kTextSize];
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_FLAT_FIELDS_H_

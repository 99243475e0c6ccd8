// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/flat_fields.h"

#include <cassert>
#include <cstdint>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace brood::server {

FlatFields::FlatFields(const Event& event) {
  for (const Event::Field& field : event.fields()) {
    if (field.key.empty()) continue;
    if (const auto* number = std::get_if<int64_t>(&field.value)) {
      Add(field.key, *number);
    } else if (const auto* length = std::get_if<absl::Duration>(&field.value)) {
      Add(field.key, absl::ToInt64Nanoseconds(*length));
    } else if (const auto* text =
                   std::get_if<absl::string_view>(&field.value)) {
      Add(field.key, *text);
    } else {
      AddAddress(field.key, std::get<AddressView>(field.value));
    }
  }
}

void FlatFields::Add(absl::string_view key, LogField::Value value) {
  fields_[count_++] = {key, value};
}

// The local address of a connection needs no network.transport, because the
// address of the client has it already.
void FlatFields::AddAddress(absl::string_view key, const AddressView& view) {
  assert(addresses_ < kMaxAddresses);
  if (addresses_ == kMaxAddresses) return;
  const absl::string_view address = view.Print(address_texts_[addresses_++]);
  const bool client = key == "client";
  const bool local = key == "local";
  const absl::string_view address_key =
      client ? "client.address" : "server.address";
  absl::string_view host = address;
  if (absl::ConsumePrefix(&host, "unix:")) {
    if (!host.empty()) Add(address_key, host);
    if (!local) Add("network.transport", "unix");
  } else {
    int port = 0;
    const size_t colon = host.rfind(':');
    if (colon != absl::string_view::npos &&
        absl::SimpleAtoi(host.substr(colon + 1), &port)) {
      host = host.substr(0, colon);
    }
    if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
    Add(address_key, host.empty() ? absl::string_view("::") : host);
    Add(client ? "client.port" : "server.port", int64_t{port});
    if (!local) Add("network.transport", "tcp");
  }
  if (!client && !local) Add("brood.listener", address);
}

}  // namespace brood::server

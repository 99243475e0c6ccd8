// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_EVENT_H_
#define BROOD_SERVER_LOG_EVENT_H_

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/server/log_level.h"

namespace brood::server {

// AddressView refers to an address that is formatted only if a line is written.
//
// It works for every type with a constant kTextSize and a method
// Print(char (&)[kTextSize]): an endpoint, the address of a peer. The address
// must outlive the view.
class AddressView {
 public:
  // The size of a buffer for the longest address, with its final NUL.
  static constexpr size_t kTextSize = 448;

  // Refers to `address`.
  template <typename Address>
  explicit AddressView(const Address& address)
      : address_(&address), print_(&PrintTo<Address>) {}

  // Prints the address into `text`, as "192.0.2.7:40112", "[::1]:7000",
  // ":7000", "unix:/run/x.sock" or, for a client of a unix socket, "unix:".
  absl::string_view Print(char (&text)[kTextSize]) const {
    return print_(address_, text);
  }

 private:
  // Prints the Address at `address` into `text`, which has room for kTextSize
  // bytes.
  template <typename Address>
  static absl::string_view PrintTo(const void* address, char* text) {
    constexpr size_t kSize = static_cast<size_t>(Address::kTextSize);
    static_assert(kSize <= kTextSize, "the text has no room");
    return static_cast<const Address*>(address)->Print(
        *reinterpret_cast<char(*)[kSize]>(text));
  }

  const void* address_;
  absl::string_view (*print_)(const void*, char*);
};

// Event is one thing that the log reports: a level, a name and typed fields.
//
// The name is kebab-case and is understandable alone: "forked", "fork-failed".
// The text is a template: its placeholders are filled with the fields, in
// order. A placeholder is "{}", or for a duration "{.N}", seconds with N
// decimals, or "{ms}", milliseconds. Fields beyond the last placeholder are
// data alone.
//
// A value of the process that makes it. It allocates nothing and copies no
// text: the texts to which it refers must live until the line is written. As
// data, durations are numbers of nanoseconds.
//
// Example:
//   log.Write(Event(LogLevel::kInfo, "forked", "forked pid {} to handle {}")
//                 .Add("brood.child.pid", pid)
//                 .AddClient(peer));
class Event {
 public:
  // The largest number of fields.
  static constexpr size_t kMaxFields = 20;

  // Value is the typed value of a field.
  using Value =
      std::variant<int64_t, absl::Duration, absl::string_view, AddressView>;

  // Field is a value and the key under which it is data.
  struct Field {
    // The key; empty if the value only fills a placeholder. An address has the
    // key "client", "server" (a listener) or "local" (the end of a connection
    // on this machine).
    absl::string_view key;
    // The value; a key has values of one type in all events.
    Value value = int64_t{0};
  };

  // Makes an event without fields. `name` and `text` are literals.
  Event(LogLevel level, absl::string_view name, absl::string_view text)
      : level_(level), name_(name), text_(text) {}

  // Adds an integer. A number beyond the range of int64_t becomes the largest
  // one.
  template <typename Integer,
            std::enable_if_t<std::is_integral_v<Integer>, int> = 0>
  Event& Add(absl::string_view key, Integer value) {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    if constexpr (std::is_unsigned_v<Integer>) {
      if (value > static_cast<uint64_t>(kMost)) return Append(key, kMost);
    }
    return Append(key, static_cast<int64_t>(value));
  }
  // Adds a duration.
  Event& Add(absl::string_view key, absl::Duration value) {
    return Append(key, value);
  }
  // Adds a text, which may hold any bytes.
  Event& Add(absl::string_view key, absl::string_view value) {
    return Append(key, value);
  }
  // Adds the address of the peer of a connection.
  template <typename Address>
  Event& AddClient(const Address& peer) {
    return Append("client", AddressView(peer));
  }
  // Adds the address of a listener.
  template <typename Address>
  Event& AddListener(const Address& listener) {
    return Append("server", AddressView(listener));
  }
  // Adds the address of this machine that the peer connected to.
  template <typename Address>
  Event& AddLocal(const Address& local) {
    return Append("local", AddressView(local));
  }
  // Adds a text that fills a placeholder and is not data.
  Event& AddPhrase(absl::string_view phrase) { return Append("", phrase); }

  // Returns the level.
  LogLevel level() const { return level_; }
  // Returns the name, the value of the key "event.action".
  absl::string_view name() const { return name_; }
  // Returns the template of the text.
  absl::string_view text() const { return text_; }
  // Returns the fields, in the order in which they were added.
  absl::Span<const Field> fields() const { return {fields_, count_}; }

 private:
  // Adds a field. There may be at most kMaxFields: a debug build aborts if
  // there are more, and any other build drops the field.
  Event& Append(absl::string_view key, Value value) {
    assert(count_ < kMaxFields);
    if (count_ < kMaxFields) fields_[count_++] = {key, value};
    return *this;
  }

  const LogLevel level_;
  const absl::string_view name_;
  const absl::string_view text_;
  size_t count_ = 0;
  Field fields_[kMaxFields];
};

// LineOrigin is what a line contains about the process that writes it.
struct LineOrigin {
  // The name of the server; see Options::log.
  absl::string_view name = "brood";
  // The pid of the process.
  int pid = 0;
  // The time of day. It is printed and is not used for decisions.
  absl::Time time = absl::UnixEpoch();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_EVENT_H_

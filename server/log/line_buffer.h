// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_LINE_BUFFER_H_
#define BROOD_SERVER_LOG_LINE_BUFFER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace brood::server {

// LineBuffer appends text to memory of the caller and never beyond its end.
//
// Text that does not fit is cut off, and so is all text that is appended later;
// overflowed() reports it. Works in every process. It allocates nothing, and
// does not depend on the locale or the time zone.
//
// Example:
//   char memory[64];
//   LineBuffer line(absl::MakeSpan(memory));
//   line.Append("pid ");
//   line.AppendInteger(4711);
//   write(fd, line.text().data(), line.text().size());
class LineBuffer {
 public:
  // Appends to `memory`, which must outlive the buffer.
  explicit LineBuffer(absl::Span<char> memory) : memory_(memory) {}

  // Appends `text`, or as much of it as fits.
  void Append(absl::string_view text);
  // Appends `number` in decimal digits, or nothing if it does not fit.
  void AppendInteger(int64_t number);
  // Appends `length` in seconds, rounded to `decimals` (0 to 9) decimals; "inf"
  // or "-inf" for an infinite length.
  void AppendSeconds(absl::Duration length, int decimals);
  // Appends the UTC time as "2026-11-29T21:00:00.123Z", with `decimals` (1 to
  // 9) of a second. A time before 1970 or after 2262-04-11 becomes the nearest
  // time in that range.
  void AppendTime(absl::Time time, int decimals);

  // Removes everything beyond the first `size` bytes, and resets overflowed().
  void Truncate(size_t size);

  // Returns the text that has been appended.
  absl::string_view text() const { return {memory_.data(), size_}; }
  // Returns the number of bytes that have been appended.
  size_t size() const { return size_; }
  // Returns the number of bytes that still fit.
  size_t room() const { return memory_.size() - size_; }
  // Reports whether something did not fit.
  bool overflowed() const { return overflowed_; }

 private:
  // Appends `number`, which is not negative, in at least `digits` digits.
  void AppendPadded(int64_t number, int digits);

  const absl::Span<char> memory_;
  size_t size_ = 0;
  bool overflowed_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_LINE_BUFFER_H_

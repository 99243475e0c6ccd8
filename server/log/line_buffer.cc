// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/line_buffer.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

namespace brood::server {
namespace {

constexpr int64_t kNanosecondsPerSecond = 1000000000;
constexpr int64_t kSecondsPerDay = 86400;

// Returns 10 to the power of `exponent`.
constexpr int64_t PowerOfTen(int exponent) {
  int64_t power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

struct Date {
  int64_t year;
  int64_t month;
  int64_t day;
};

// Returns the date that is `days` days, which are not negative, after
// 1970-01-01. In this computation years begin in March, so that a leap day is
// the last day of a year.
Date DateOf(int64_t days) {
  constexpr int64_t kDaysPerEra = 146097;  // 400 years
  const int64_t since_march_0000 = days + 719468;
  const int64_t era = since_march_0000 / kDaysPerEra;
  const int64_t day_of_era = since_march_0000 % kDaysPerEra;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 +
                               day_of_era / 36524 - day_of_era / 146096) /
                              365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month =
      month_from_march % 12 + (month_from_march < 10 ? 3 : -9);
  const int64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);
  return {year, month, day};
}

}  // namespace

void LineBuffer::Append(absl::string_view text) {
  if (overflowed_) return;
  const size_t taken = std::min(text.size(), room());
  if (taken > 0) std::memcpy(memory_.data() + size_, text.data(), taken);
  size_ += taken;
  overflowed_ = taken < text.size();
}

void LineBuffer::AppendInteger(int64_t number) {
  if (overflowed_) return;
  char* const end = memory_.data() + memory_.size();
  const std::to_chars_result result =
      std::to_chars(memory_.data() + size_, end, number);
  if (result.ec != std::errc()) {
    overflowed_ = true;
    return;
  }
  size_ = static_cast<size_t>(result.ptr - memory_.data());
}

void LineBuffer::AppendPadded(int64_t number, int digits) {
  for (int64_t power = PowerOfTen(digits - 1); power > 1 && number < power;
       power /= 10) {
    Append("0");
  }
  AppendInteger(number);
}

void LineBuffer::AppendSeconds(absl::Duration length, int decimals) {
  if (length < absl::ZeroDuration()) {
    Append("-");
    length = -length;
  }
  if (length == absl::InfiniteDuration()) return Append("inf");
  const int64_t power = PowerOfTen(decimals);
  const absl::Duration unit = absl::Seconds(1) / power;
  const int64_t units = (length + unit / 2) / unit;
  AppendInteger(units / power);
  if (decimals == 0) return;
  Append(".");
  AppendPadded(units % power, decimals);
}

void LineBuffer::AppendTime(absl::Time time, int decimals) {
  const int64_t nanoseconds =
      std::max<int64_t>(absl::ToInt64Nanoseconds(time - absl::UnixEpoch()), 0);
  const int64_t seconds = nanoseconds / kNanosecondsPerSecond;
  const int64_t second_of_day = seconds % kSecondsPerDay;
  const Date date = DateOf(seconds / kSecondsPerDay);
  AppendPadded(date.year, 4);
  Append("-");
  AppendPadded(date.month, 2);
  Append("-");
  AppendPadded(date.day, 2);
  Append("T");
  AppendPadded(second_of_day / 3600, 2);
  Append(":");
  AppendPadded(second_of_day / 60 % 60, 2);
  Append(":");
  AppendPadded(second_of_day % 60, 2);
  Append(".");
  AppendPadded(nanoseconds % kNanosecondsPerSecond / PowerOfTen(9 - decimals),
               decimals);
  Append("Z");
}

void LineBuffer::Truncate(size_t size) {
  size_ = std::min(size, size_);
  overflowed_ = false;
}

}  // namespace brood::server

// SPDX-License-Identifier: Apache-2.0

#include "brood/server/report/handler_report.h"

#include <algorithm>
#include <atomic>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstring>
#include <utility>

namespace brood::server {
namespace {

using net::Instant;

// SharedText is a text in a page. The size is stored last, so a child that is
// killed while it stores a text leaves the text before or none.
struct SharedText {
  std::atomic<uint32_t> size;
  char bytes[HandlerText::kMostBytes];

  void Set(absl::string_view text) {
    text = text.substr(0, sizeof(bytes));
    size.store(0, std::memory_order_release);
    std::memcpy(bytes, text.data(), text.size());
    size.store(static_cast<uint32_t>(text.size()), std::memory_order_release);
  }

  // A process that the child has started may write to the page meanwhile, so
  // the size is read once.
  void Copy(HandlerText* text) const {
    const size_t claimed = size.load(std::memory_order_acquire);
    text->Set({bytes, std::min(claimed, sizeof(bytes))});
  }
};

// A point in time, in nanoseconds of the monotonic clock; 0 if it has not come.
using SharedInstant = std::atomic<int64_t>;

int64_t Nanoseconds(Instant instant) {
  return instant.time_since_epoch().count();
}

}  // namespace

// HandlerPage is the contents of a page. In the page of a handler that was
// never called, every byte is zero. The parent does not trust the contents.
struct HandlerPage {
  SharedInstant called;
  SharedInstant returned;
  SharedInstant closed;
  SharedText exception;
  SharedText annotation;

  void Clear() {
    exception.size = 0;
    annotation.size = 0;
    closed = 0;
    returned = 0;
    called = 0;
  }
};

namespace {

static_assert(sizeof(HandlerPage) <= 4096);
static_assert(std::atomic<int64_t>::is_always_lock_free &&
                  std::atomic<uint32_t>::is_always_lock_free,
              "two processes use the page");

// The page of this process.
HandlerPage* own_page = nullptr;

// How much later than the parent a child may report the end of its connection:
// the parent knows it less exactly. Only a hostile child reports a later time.
constexpr absl::Duration kLatestClaim = absl::Seconds(1);

// Returns the instant that a child claims, or the nearest possible one; `ended`
// if the child has not stored it.
Instant Bounded(const SharedInstant& claimed, Instant began, Instant ended) {
  const int64_t nanoseconds = claimed;
  if (nanoseconds <= 0) return ended;
  return std::clamp(Instant(std::chrono::nanoseconds(nanoseconds)), began,
                    net::After(ended, kLatestClaim));
}

// Returns the time from `begin` to `end`, at most `longest`; zero if `end` is
// before `begin`.
absl::Duration Between(Instant begin, Instant end, absl::Duration longest) {
  return std::clamp(absl::FromChrono(end - begin), absl::ZeroDuration(),
                    longest);
}

}  // namespace

void HandlerText::Set(absl::string_view text) {
  size_ = std::min(text.size(), kMostBytes);
  std::copy_n(text.begin(), size_, bytes_.begin());
}

absl::StatusOr<std::unique_ptr<HandlerReports>> HandlerReports::Create(
    size_t pages) {
  auto mapped = proc::ChildPages::Create(pages);
  if (!mapped.ok()) return mapped.status();
  return std::unique_ptr<HandlerReports>(
      new HandlerReports(*std::move(mapped)));
}

HandlerReports::HandlerReports(std::unique_ptr<proc::ChildPages> pages)
    : pages_(std::move(pages)) {}

absl::Status HandlerReports::Enter(uint32_t page) const {
  void* const own = pages_->page(page);
  absl::Status kept = proc::ChildPages::KeepOnly(own);
  if (kept.ok()) own_page = static_cast<HandlerPage*>(own);
  return kept;
}

void HandlerReports::Take(uint32_t page, Instant began, Instant ended,
                          HandlerReport* report) const {
  auto* const shared = static_cast<HandlerPage*>(pages_->page(page));
  const Instant called = Bounded(shared->called, began, ended);
  const Instant returned = Bounded(shared->returned, began, ended);
  const Instant closed = Bounded(shared->closed, began, ended);
  const absl::Duration whole = absl::FromChrono(ended - began);
  report->handler_time = Between(called, returned, whole);
  report->linger_time = Between(returned, closed, whole - report->handler_time);
  shared->exception.Copy(&report->exception);
  shared->annotation.Copy(&report->annotation);
  shared->Clear();
}

namespace report_writer {

void HandlerCalled() {
  if (own_page == nullptr) return;
  own_page->Clear();
  own_page->called = Nanoseconds(net::Now());
}

void HandlerReturned() {
  if (own_page != nullptr) own_page->returned = Nanoseconds(net::Now());
}

void ConnectionClosed() {
  if (own_page != nullptr) own_page->closed = Nanoseconds(net::Now());
}

void SetException(absl::string_view what) {
  if (own_page != nullptr) own_page->exception.Set(what);
}

void SetAnnotation(absl::string_view text) {
  if (own_page == nullptr || own_page->called == 0 || own_page->returned != 0) {
    return;
  }
  own_page->annotation.Set(text);
}

void* PageForTest() { return own_page; }

}  // namespace report_writer
}  // namespace brood::server

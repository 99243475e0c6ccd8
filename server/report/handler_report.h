// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_REPORT_HANDLER_REPORT_H_
#define BROOD_SERVER_REPORT_HANDLER_REPORT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/child_pages.h"

namespace brood::server {

// HandlerText is a text of at most kMostBytes bytes, whatever they are.
class HandlerText {
 public:
  static constexpr size_t kMostBytes = 256;

  // Stores `text`, or as much of it as fits.
  void Set(absl::string_view text);
  // Returns the text, which lives as long as this object.
  absl::string_view view() const { return {bytes_.data(), size_}; }

 private:
  size_t size_ = 0;
  std::array<char, kMostBytes> bytes_;
};

// HandlerReport is what a child reported about its connection, as the parent
// has copied it. A child may write anything, so the times are limited to those
// of the connection, and the texts may have any bytes. A value of the parent.
struct HandlerReport {
  // The time that the handler took; until its process ended if that came first.
  absl::Duration handler_time;
  // The time from the end of the handler until the connection was closed.
  absl::Duration linger_time;
  // The message of the exception that the handler threw.
  HandlerText exception;
  // The text that the handler set by Annotate(); see server/handler.h.
  HandlerText annotation;
};

// HandlerReports is the memory by which children report to the parent: a page
// for each process that may serve at the same time.
//
// Created in the parent, in ordinary memory; Take() is called there and Enter()
// in a child. Not thread-safe.
//
// Errors: those of ChildPages.
//
// Example:
//   auto reports = HandlerReports::Create(/*pages=*/1000);
//   spawner->Spawn([&] {
//     if (!(*reports)->Enter(slot).ok()) return 111;
//     report_writer::HandlerCalled();
//     ...
//   });
//   ... the child has ended ...
//   HandlerReport report;
//   (*reports)->Take(slot, started_at, ended_at, &report);
class HandlerReports {
 public:
  // Maps `pages` pages.
  static absl::StatusOr<std::unique_ptr<HandlerReports>> Create(size_t pages);

  // Makes `page` the page of this process, and unmaps all others. Called once
  // in a child, before the embedder's handler.
  absl::Status Enter(uint32_t page) const;

  // Copies what was reported in `page` to `report`, and empties the page. The
  // connection was accepted at `began`, and ended at `ended`, which is not
  // before `began`, or a little later.
  void Take(uint32_t page, net::Instant began, net::Instant ended,
            HandlerReport* report) const;

 private:
  // Takes ownership of `pages`.
  explicit HandlerReports(std::unique_ptr<proc::ChildPages> pages);

  const std::unique_ptr<proc::ChildPages> pages_;
};

// The functions by which a child writes into its page. Without a page they have
// no effect, and do not read the clock. They allocate nothing.
namespace report_writer {

// Empties the page, and stores that the handler is called now.
void HandlerCalled();
// Stores that the handler has returned.
void HandlerReturned();
// Stores that the connection ends.
void ConnectionClosed();
// Stores the message of an exception.
void SetException(absl::string_view what);
// Stores the text of the handler in place of the one before. Has no effect
// outside a handler.
void SetAnnotation(absl::string_view text);
// Returns the address of the page of this process; null if there is none. For
// tests.
void* PageForTest();

}  // namespace report_writer
}  // namespace brood::server

#endif  // BROOD_SERVER_REPORT_HANDLER_REPORT_H_

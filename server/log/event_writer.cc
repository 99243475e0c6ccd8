// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/event_writer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/server/log/flat_fields.h"
#include "brood/server/log/journal.h"
#include "brood/server/log/json_format.h"
#include "brood/server/log/line_buffer.h"
#include "brood/server/log/must_not_throw.h"
#include "brood/server/log/wall_clock.h"

namespace brood::server {
namespace {

// The process that created the last writer.
pid_t creator = 0;

// Writes a line of text. Not inlined, so that a stack frame holds only one of
// the two buffers, for text and for JSON.
ABSL_ATTRIBUTE_NOINLINE bool WriteText(LineWriter& writer, const Event& event,
                                       const LineOrigin& origin,
                                       TimeStamp stamp) {
  char memory[kMaxTextLine];
  return writer.Write(FormatText(event, origin, stamp, absl::MakeSpan(memory)));
}

ABSL_ATTRIBUTE_NOINLINE bool WriteJson(LineWriter& writer, const Event& event,
                                       const LineOrigin& origin) {
  char memory[kMaxJsonLine];
  return writer.Write(FormatJson(event, origin, absl::MakeSpan(memory)));
}

}  // namespace

struct EventWriter::SharedCounts {
  std::atomic<uint64_t> dropped{0};
  std::atomic<uint64_t> dropped_and_not_reported{0};
  // Not 0 if children must leave out their info lines, because the parent
  // leaves out those of the same connections. A number, and not a bool, because
  // a child may write any value here.
  std::atomic<uint32_t> children_leave_out{0};

  // Allocates the counts. If each child logs, they are in memory that children
  // share, so that lines that are dropped in children are counted too.
  // Otherwise children do not get the memory: each fork and each exit would
  // take the lock of a shared mapping.
  static SharedCounts* Create(bool children_log) {
    void* memory =
        mmap(nullptr, sizeof(SharedCounts), PROT_READ | PROT_WRITE,
             MAP_ANONYMOUS | (children_log ? MAP_SHARED : MAP_PRIVATE), -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    if (!children_log) madvise(memory, sizeof(SharedCounts), MADV_DONTFORK);
    return new (memory) SharedCounts;
  }
};

LogSettings LogSettings::From(const Options::Log& log) {
  const bool stamped = log.time && !IsJournal(STDERR_FILENO);
  return {log.level,
          log.format,
          stamped ? TimeStamp::kMilliseconds : TimeStamp::kNone,
          log.name,
          log.sink,
          log.rate};
}

EventWriter::EventWriter(LogSettings settings)
    : settings_(std::move(settings)),
      writer_(LogDescriptor::OpenAgain(STDERR_FILENO)),
      private_fds_{proc::PrivateFdRegistration(writer_.own_fds()[0]),
                   proc::PrivateFdRegistration(writer_.own_fds()[1]),
                   proc::PrivateFdRegistration(writer_.own_fds()[2])},
      budget_(std::make_unique<LogBudget>(settings_.rate)),
      shared_(SharedCounts::Create(ChildrenLog())),
      has_written_(static_cast<bool*>(proc::AllocateParentOnly(sizeof(bool)))) {
  creator = getpid();
}

EventWriter::~EventWriter() {
  munmap(shared_, sizeof(SharedCounts));
  proc::FreeParentOnly(has_written_, sizeof(bool));
}

uint64_t EventWriter::dropped() const { return shared_->dropped; }

// The rate does not apply to a sink, which decides itself what it keeps, nor to
// warnings and errors: EventLog throttles those that come in floods.
bool EventWriter::Write(const Event& event, int lines) {
  if (settings_.sink || settings_.rate == 0) return WriteNow(event);
  const net::Instant now = net::Now();
  const bool has_room = event.level() != LogLevel::kInfo || lines == 0 ||
                        budget_->Take(lines, now);
  if (ChildrenLog() &&
      (shared_->children_leave_out != 0) != budget_->IsSpent()) {
    shared_->children_leave_out = budget_->IsSpent() ? 1 : 0;
  }
  if (const absl::optional<uint64_t> count = budget_->TakeCount(now)) {
    WriteLeftOut(*count);
  }
  return has_room && WriteNow(event);
}

void EventWriter::ReportLeftOut() {
  const uint64_t count = budget_->TakeCount();
  if (count > 0) WriteLeftOut(count);
}

void EventWriter::WriteLeftOut(uint64_t count) {
  shared_->dropped += count;
  if (!Wants(LogLevel::kWarning)) return;
  WriteNow(Event(LogLevel::kWarning, "lines-left-out",
                 "{} lines about connections were left out, because there were "
                 "more than Options::log.rate")
               .Add("brood.suppressed", count));
}

bool EventWriter::WriteNow(const Event& event) {
  // A process that was forked since does not have this memory.
  if (getpid() == creator) *has_written_ = true;
  return Write(settings_.sink ? nullptr : &writer_, event);
}

bool EventWriter::TakeHasWritten() {
  return std::exchange(*has_written_, false);
}

// Writes to descriptor 2: a child has no copy of the parent's own descriptor of
// the log.
void EventWriter::WriteInChild(const Event& event) {
  if (!Wants(event.level())) return;
  if (ChildrenLog() && event.level() == LogLevel::kInfo &&
      shared_->children_leave_out != 0) {
    return;  // the parent counts it
  }
  LineWriter writer(STDERR_FILENO);
  if (!(writer.file() == writer_.file())) {
    // Lines of the parent are counted as dropped if there is no log, so this
    // line is counted as well.
    if (!writer_.file() && ChildrenLog()) {
      ++shared_->dropped_and_not_reported;
      ++shared_->dropped;
    }
    return;
  }
  if (ChildrenLog()) {
    Write(&writer, event);
  } else {
    WriteLine(&writer, event);  // without the counts, which it does not have
  }
}

// If the number of dropped lines cannot be written, the event is not tried.
bool EventWriter::Write(LineWriter* writer, const Event& event) {
  const uint64_t missing = shared_->dropped_and_not_reported.exchange(0);
  if (missing == 0 ||
      WriteLine(writer, Event(LogLevel::kWarning, "lines-dropped",
                              "{} log lines were dropped")
                            .Add("brood.lines_dropped", missing))) {
    if (WriteLine(writer, event)) return true;
    ++shared_->dropped_and_not_reported;
  } else {
    shared_->dropped_and_not_reported += missing + 1;
  }
  ++shared_->dropped;
  return false;
}

bool EventWriter::WriteLine(LineWriter* writer, const Event& event) const {
  if (writer == nullptr) {
    PassOn(event);
    return true;
  }
  LineOrigin origin;
  origin.name = settings_.name;
  origin.pid = getpid();
  const bool text = settings_.format == LogFormat::kText;
  if (!text || settings_.stamp != TimeStamp::kNone) {
    origin.time = WallClockNow();
  }
  return text ? WriteText(*writer, event, origin, settings_.stamp)
              : WriteJson(*writer, event, origin);
}

ABSL_ATTRIBUTE_NOINLINE void EventWriter::PassOn(const Event& event) const {
  char memory[kMaxTextLine];
  LineBuffer message(absl::MakeSpan(memory));
  AppendMessage(event, message);
  const FlatFields flat(event);
  const LogRecord record = {event.level(), WallClockNow(), event.name(),
                            message.text(), flat.fields()};
  CallMustNotThrow("Options::log.sink", [&] { settings_.sink(record); });
}

}  // namespace brood::server

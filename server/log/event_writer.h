// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_EVENT_WRITER_H_
#define BROOD_SERVER_LOG_EVENT_WRITER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "brood/proc/private_fds.h"
#include "brood/server/log/event.h"
#include "brood/server/log/line_writer.h"
#include "brood/server/log/output/log_budget.h"
#include "brood/server/log/text_format.h"
#include "brood/server/log_level.h"
#include "brood/server/options.h"

namespace brood::server {

// LogSettings are which events are written, and how; see Options::log.
struct LogSettings {
  // Returns the settings that `log` asks for. The journal of systemd stamps
  // lines itself.
  static LogSettings From(const Options::Log& log);

  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  TimeStamp stamp = TimeStamp::kNone;
  std::string name = "brood";
  LogSink sink;
  // Limits the info lines of connections that are written to standard error in
  // a second; 0 is no limit.
  int rate = 0;
};

// EventWriter writes events to standard error, each as one line by one write,
// or passes those of the parent to a function of the embedder.
//
// It never stops the service: a line that cannot be written at once is dropped
// and counted, in the children too, and a line with the number of dropped ones
// precedes the next line that can be written. Info lines of connections beyond
// the rate of the settings are left out and counted, and a line reports their
// number once a second; a sink gets them all.
//
// The log is the file that standard error was when the object was created. A
// child whose standard error is another file by now, because the embedder
// replaced it, writes no line.
//
// Created in the parent, in ordinary memory; children call WriteInChild() only.
// Allocates nothing after its creation.
//
// Example: see event_log.cc.
class EventWriter {
 public:
  // Writes the events whose level is at least that of `settings`.
  explicit EventWriter(LogSettings settings);
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;
  ~EventWriter();

  // Reports whether events of `level` are written.
  bool Wants(LogLevel level) const { return level >= settings_.level; }
  // Writes an event of the parent, for whose level Wants() is true. Returns
  // false if it was dropped. `lines` is how many lines an event of a connection
  // needs within the rate, including the lines of its child; zero is for all
  // other events, which are always written.
  bool Write(const Event& event, int lines = 0);
  // Writes the number of lines that were left out and not yet reported.
  void ReportLeftOut();
  // Reports whether each child logs a line of its own at the level info.
  bool ChildrenLog() const { return settings_.level == LogLevel::kInfo; }
  // Writes an event of a child to standard error, if Wants() is true for its
  // level.
  void WriteInChild(const Event& event);

  // Returns whether an event was written since the last call. Called in the
  // parent.
  bool TakeHasWritten();

  // Returns the number of lines that could not be written, by this process and
  // its children, or were left out.
  uint64_t dropped() const;
  // Returns the descriptor that the writer opened for itself, to be closed in
  // children; -1 if there is none.
  int own_fd() const { return writer_.own_fd(); }

 private:
  struct SharedCounts;

  // Writes an event, whatever the rate is.
  bool WriteNow(const Event& event);
  // Writes a line with the number of lines that were left out.
  void WriteLeftOut(uint64_t count);
  // Writes an event, preceded by the number of dropped lines, or passes it to
  // the sink if `writer` is null. Returns false if it was dropped.
  bool Write(LineWriter* writer, const Event& event);
  // Writes one line, or passes it to the sink, as Write() does.
  bool WriteLine(LineWriter* writer, const Event& event) const;
  // Passes an event to the sink.
  void PassOn(const Event& event) const;

  const LogSettings settings_;
  LineWriter writer_;
  const std::array<proc::PrivateFdRegistration, 3> private_fds_;
  const std::unique_ptr<LogBudget> budget_;
  SharedCounts* const shared_;
  // In parent-only memory, because it is written for each connection.
  bool* const has_written_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_EVENT_WRITER_H_

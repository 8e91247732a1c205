#include "tools/bench/methods_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kBookSize = 320 * kMiB;
constexpr uint64_t kSwitchesPerCall = 2;  // into the kernel and back
constexpr uint64_t kZerocopyCalls = 400;  // of kBookSize

// A figure of the books for a file of this size.
uint64_t in_proportion(uint64_t figure, uint64_t bytes) {
  return figure * (bytes / kMiB) / (kBookSize / kMiB);
}

double mebibytes(uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(kMiB);
}

std::string number_or_dash(std::optional<uint64_t> number) {
  return number ? fmt::format("{}", *number) : "-";
}

constexpr const char* kRowFormat = "{:<16} {:<5} {:>7} {:>7} {:>8} {:>10} {:>9} {:>9} {:>8} {:>8} {:>8}\n";

std::string measured_line(const MethodRow& row) {
  return fmt::format(kRowFormat, row.method, row.warm ? "warm" : "cold", number_or_dash(row.calls),
                     number_or_dash(row.waits), row.context_switches,
                     fmt::format("{:.1f}", mebibytes(row.copied_bytes)), fmt::format("{:.3f}", row.sender_cpu_seconds),
                     fmt::format("{:.3f}", row.receiver_cpu_seconds), fmt::format("{:.3f}", row.seconds),
                     fmt::format("{:.0f}", static_cast<double>(row.bytes) / row.seconds / 1e6), row.page_cache_pages);
}

std::string how_counted(const std::vector<MethodRow>& rows) {
  const auto measured =
      std::find_if(rows.begin(), rows.end(), [](const MethodRow& row) { return row.refused.empty(); });
  if (measured == rows.end()) return "";
  switch (measured->counting) {
    case CallCounting::perf: return "calls: of all threads of the sender, counted by the kernel's tracepoint\n";
    case CallCounting::trace:
      return "calls, waits: of all threads of the sender, counted by ptrace in runs of their own, which are slower; "
             "the "
             "tracepoint needs root\n";
    case CallCounting::own:
      return "calls: as the sender counts them itself, Sluice does not; the tracepoint needs root, and ptrace is not "
             "allowed here\n";
  }
  return "";
}

std::string refusals(const std::vector<MethodRow>& rows) {
  std::string text;
  for (const MethodRow& row : rows) {
    if (!row.refused.empty())
      text += fmt::format("{}/{}: this system does not let it run: {}\n", row.method, row.warm ? "warm" : "cold",
                          row.refused);
  }
  return text;
}

// The books' figures, and what was measured under them.
std::string textbook_table(const std::vector<MethodRow>& rows) {
  std::string lines;
  for (const MethodRow& row : rows) {
    const auto book = textbook_figures(row.method, row.bytes);
    if (!book || !row.refused.empty()) continue;
    const auto switches = row.calls ? std::optional(*row.calls * kSwitchesPerCall) : std::nullopt;
    lines += fmt::format("{:<16} {:<5} {:>10} {:>10} {:>12.0f} {:>12.0f} {:>12.1f}\n", row.method,
                         row.warm ? "warm" : "cold", book->switches, number_or_dash(switches),
                         mebibytes(book->copied_bytes), mebibytes(book->cpu_copied_bytes), mebibytes(row.copied_bytes));
  }
  if (lines.empty()) return "";
  return fmt::format("\n{:<22} {:>10} {:>10} {:>12} {:>12} {:>12}\n", "the textbook", "switches", "here", "MiB copied",
                     "by the CPU", "here") +
         lines;
}

std::string goal_lines(const std::vector<MethodRow>& rows) {
  std::string text;
  for (const MethodRow& row : rows) {
    const auto goal = calls_goal(row);
    if (!goal || !row.calls) continue;
    text += fmt::format("{:<16} {:<5} {:>7} calls, at most {:>7}: {:<4} {:>7.1f} MiB copied, none is wanted: {}\n",
                        row.method, row.warm ? "warm" : "cold", *row.calls, *goal, *row.calls <= *goal ? "yes" : "no",
                        mebibytes(row.copied_bytes), row.copied_bytes == 0 ? "yes" : "no");
  }
  return text.empty() ? "" : "\nthe goals\n" + text;
}

const char* name_of(CallCounting counting) {
  switch (counting) {
    case CallCounting::perf: return "tracepoint";
    case CallCounting::trace: return "ptrace";
    case CallCounting::own: return "sender";
  }
  return "";
}

template <typename T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nullptr;
}

nlohmann::ordered_json row_json(const MethodRow& row) {
  const auto book = textbook_figures(row.method, row.bytes);
  nlohmann::ordered_json json = {{"method", row.method},
                                 {"state", row.warm ? "warm" : "cold"},
                                 {"bytes", row.bytes},
                                 {"refused", or_null(row.refused.empty() ? std::nullopt : std::optional(row.refused))}};
  if (row.refused.empty()) {
    json.update({{"system_calls", or_null(row.calls)},
                 {"system_calls_by_sender", or_null(row.own_calls)},
                 {"counted_by", name_of(row.counting)},
                 {"system_calls_goal", or_null(calls_goal(row))},
                 {"waits", or_null(row.waits)},
                 {"context_switches", row.context_switches},
                 {"copied_bytes", row.copied_bytes},
                 {"sender_cpu_seconds", row.sender_cpu_seconds},
                 {"receiver_cpu_seconds", row.receiver_cpu_seconds},
                 {"seconds", row.seconds},
                 {"page_cache_pages", row.page_cache_pages}});
  }
  if (book) {
    json.update({{"textbook_switches", book->switches},
                 {"textbook_copied_bytes", book->copied_bytes},
                 {"textbook_cpu_copied_bytes", book->cpu_copied_bytes}});
  }
  return json;
}

}  // namespace

std::optional<TextbookFigures> textbook_figures(const std::string& method, uint64_t bytes) {
  if (method == "read-write") return TextbookFigures{in_proportion(40'000, bytes), 4 * bytes, 2 * bytes};
  if (method == "sendfile") return TextbookFigures{in_proportion(400, bytes), 2 * bytes, 0};
  return std::nullopt;
}

std::optional<uint64_t> calls_goal(const MethodRow& row) {
  if (!row.warm || !row.refused.empty()) return std::nullopt;
  if (row.method == "sluice-zerocopy") return in_proportion(kZerocopyCalls, row.bytes) - 1;
  if (row.method == "sluice-vmsplice")
    return 2 * (row.bytes / kMiB) + 3 * row.waits.value_or(0) + 4 + row.bytes / (16 * kMiB);
  return std::nullopt;
}

std::string methods_table(const std::vector<MethodRow>& rows) {
  std::string table = fmt::format(kRowFormat, "method", "state", "calls", "waits", "switches", "MiB copied", "CPU s",
                                  "receiver", "time s", "MB/s", "pages");
  for (const MethodRow& row : rows) {
    if (row.refused.empty()) {
      table += measured_line(row);
    } else {
      table +=
          fmt::format(kRowFormat, row.method, row.warm ? "warm" : "cold", "-", "-", "-", "-", "-", "-", "-", "-", "-");
    }
  }
  return table + how_counted(rows) + refusals(rows) + textbook_table(rows) + goal_lines(rows);
}

nlohmann::ordered_json methods_json(const std::vector<MethodRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const MethodRow& row : rows) list.push_back(row_json(row));
  return list;
}

}  // namespace sluice

#include "tools/bench/methods_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace sluice {
namespace {

constexpr double kMargin = 24, kLabelWidth = 215, kPanelWidth = 190, kPanelGap = 70;
constexpr double kTop = 118, kLineHeight = 38, kBarHeight = 14;
constexpr const char* kColdColour = "#8fb8de";
constexpr const char* kWarmColour = "#d9772b";

struct Panel {
  const char* title;
  const char* unit;
  double (*value)(const MethodRow&);  // negative: not known
  std::string (*text)(double);
  bool logarithmic = false;
};

std::string whole(double value) {
  return fmt::format("{:.0f}", value);
}

const std::array<Panel, 4> kPanels = {
    Panel{"Throughput", "MB/s", [](const MethodRow& row) { return static_cast<double>(row.bytes) / row.seconds / 1e6; },
          whole},
    Panel{"Processor time of the sender", "ms", [](const MethodRow& row) { return row.sender_cpu_seconds * 1e3; },
          whole},
    Panel{"System calls", "logarithmic",
          [](const MethodRow& row) { return row.calls ? static_cast<double>(*row.calls) : -1; }, whole, true},
    Panel{"Copied by the sender's processor", "MiB",
          [](const MethodRow& row) { return static_cast<double>(row.copied_bytes) / (1 << 20); }, whole},
};

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      default: safe += c;
    }
  }
  return safe;
}

std::string text_at(double x, double y, const std::string& text, const char* attributes = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, escaped(text));
}

std::string bar_at(double x, double y, double width, double height, const char* colour) {
  return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y, width,
                     height, colour);
}

// Their titles, in the order of the rows.
std::vector<std::string> methods_of(const std::vector<MethodRow>& rows) {
  std::vector<std::string> methods;
  for (const MethodRow& row : rows) {
    if (methods.empty() || methods.back() != row.title) methods.push_back(row.title);
  }
  return methods;
}

double line_of(const std::vector<std::string>& methods, const MethodRow& row) {
  const auto place = std::find(methods.begin(), methods.end(), row.title) - methods.begin();
  return kTop + static_cast<double>(place) * kLineHeight;
}

double left_of(size_t panel) {
  return kMargin + kLabelWidth + static_cast<double>(panel) * (kPanelWidth + kPanelGap);
}

double length_of(const Panel& panel, double value, double most) {
  if (value <= 0 || most <= 0) return 0;
  // From 1 on; a single call still is to be seen.
  return kPanelWidth * (panel.logarithmic ? std::log10(1 + value) / std::log10(1 + most) : value / most);
}

std::string panel_bars(const std::vector<MethodRow>& rows, const std::vector<std::string>& methods, size_t number) {
  const Panel& panel = kPanels[number];
  double most = 0;
  for (const MethodRow& row : rows) {
    if (row.refused.empty()) most = std::max(most, panel.value(row));
  }
  const double left = left_of(number);
  std::string bars =
      text_at(left, kTop - 30, panel.title, "class=\"head\"") + text_at(left, kTop - 14, panel.unit, "class=\"unit\"");
  for (const MethodRow& row : rows) {
    const double top = line_of(methods, row) + (row.warm ? kBarHeight + 1 : 0);
    const double value = row.refused.empty() ? panel.value(row) : -1;
    const double length = length_of(panel, value, most);
    bars += bar_at(left, top, std::max(length, 1.0), kBarHeight, row.warm ? kWarmColour : kColdColour);
    bars += text_at(left + length + 5, top + 11, value < 0 ? "not known" : panel.text(value), "class=\"value\"");
  }
  return bars;
}

std::string legend(double right) {
  return bar_at(right - 290, 34, 14, 14, kColdColour) + text_at(right - 270, 45, "cold: read from the disk") +
         bar_at(right - 290, 54, 14, 14, kWarmColour) + text_at(right - 270, 65, "warm: sent once before");
}

}  // namespace

std::string methods_svg(const std::vector<MethodRow>& rows) {
  const std::vector<std::string> methods = methods_of(rows);
  const double width = left_of(kPanels.size()) + kMargin;
  const double bottom = kTop + static_cast<double>(methods.size()) * kLineHeight;
  const uint64_t mebibytes = rows.empty() ? 0 : rows.front().bytes >> 20;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">\n"
      "<style>.title{{font-size:19px;font-weight:bold}}.head{{font-weight:bold}}.unit{{fill:#666;font-size:11px}}"
      ".value{{font-size:11px}}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      width, bottom + 36);
  svg += text_at(kMargin, 40, fmt::format("A file of {} MiB to a TCP client on the same machine", mebibytes),
                 "class=\"title\"");
  svg += text_at(kMargin, 62, "by each way to send it, as `sluice bench methods` measured it", "class=\"unit\"");
  svg += legend(width - kMargin);
  for (size_t i = 0; i < methods.size(); i += 2)
    svg += bar_at(kMargin - 8, kTop + static_cast<double>(i) * kLineHeight - 4, width - 2 * kMargin + 16, kLineHeight,
                  "#f4f5f7");
  for (size_t i = 0; i < methods.size(); ++i)
    svg += text_at(kMargin, kTop + static_cast<double>(i) * kLineHeight + kBarHeight + 5, methods[i]);
  for (size_t i = 0; i < kPanels.size(); ++i) svg += panel_bars(rows, methods, i);
  svg += text_at(kMargin, bottom + 18, "The receiver copies as well, and makes a digest; neither is shown.",
                 "class=\"unit\"");
  return svg + "</svg>\n";
}

}  // namespace sluice

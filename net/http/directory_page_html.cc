// A listing for people: a table that fits a phone, whose columns sort it by links, with the way up in its heading.
// Nothing is loaded from elsewhere, nothing is a script.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "net/http/date.h"
#include "net/http/directory_page.h"
#include "net/http/text.h"

namespace sluice {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color-scheme:light dark}"
    "h1{font-size:1.2rem;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{padding:.3rem .5rem;text-align:left;border-bottom:1px solid #8884}"
    "td:first-child{overflow-wrap:anywhere}"
    "th+th,td+td{text-align:right;white-space:nowrap}"
    "a{text-decoration:none}a:hover{text-decoration:underline}"
    "@media(max-width:40rem){body{font-size:14px}th,td{padding:.4rem .2rem}}";

constexpr std::array<std::pair<PageSort, const char*>, 3> kColumns = {
    std::pair(PageSort::name, "name"), std::pair(PageSort::size, "size"), std::pair(PageSort::date, "date")};
constexpr std::array<const char*, 3> kHeadings = {"Name", "Size", "Modified (UTC)"};

std::string size_text(uint64_t bytes) {
  static constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

class HtmlPage final : public PageFormat {
 public:
  HtmlPage(std::string root, std::string path, const PageOrder& order)
      : root_(std::move(root)), path_(std::move(path)), order_(order) {}

  void begin(bool is_sorted, std::string& text) override {
    text += "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    text += "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>Index of ";
    append_html(root_ + path_, text);
    text += fmt::format("</title>\n<style>{}</style>\n</head>\n<body>\n<h1>Index of ", kStyle);
    append_way(text);
    text += "</h1>\n<table>\n<thead><tr>";
    for (size_t i = 0; i < kColumns.size(); ++i) append_heading(i, is_sorted, text);
    text += "</tr></thead>\n<tbody>\n";
    if (!path_.empty()) text += "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n";
  }

  void entry(const ListedEntry& entry, std::string& text) override {
    const char* const slash = entry.is_directory ? "/" : "";
    std::string date = format_iso_date(entry.modified_s, ' ', "");
    date.resize(date.size() - 3);  // to the minute
    text += "<tr><td><a href=\"";
    append_percent_encoded(entry.name, false, text);
    text.append(slash).append("\">");
    append_html(entry.name, text);
    text += fmt::format("{}</a></td><td>{}</td><td>{}</td></tr>\n", slash,
                        entry.is_directory ? "" : size_text(entry.size), date);
  }

  void end(std::string& text) override { text += "</tbody>\n</table>\n</body>\n</html>\n"; }

 private:
  // The heading: each directory on the way is a link. All are relative, so that a proxy may show us elsewhere.
  void append_way(std::string& text) const {
    auto above = std::count(path_.begin(), path_.end(), '/');
    append_step(above, root_, text);
    for (size_t start = 0; start < path_.size();) {
      const size_t end = path_.find('/', start) + 1;
      append_step(--above, std::string_view(path_).substr(start, end - start), text);
      start = end;
    }
  }

  static void append_step(std::ptrdiff_t above, std::string_view name, std::string& text) {
    text += "<a href=\"";
    text += above == 0 ? "./" : "";
    for (; above > 0; --above) text += "../";
    text += "\">";
    append_html(name, text);
    text += "</a>";
  }

  void append_heading(size_t column, bool is_sorted, std::string& text) const {
    const auto& [by, name] = kColumns[column];
    if (!is_sorted) {
      text += fmt::format("<th>{}</th>", kHeadings[column]);
      return;
    }
    const bool is_current = order_.by == by;
    const bool to_descending = is_current && !order_.descending;
    const char* const arrow = !is_current ? "" : order_.descending ? " \u2193" : " \u2191";
    text += fmt::format("<th><a rel=\"nofollow\" href=\"?sort={}&amp;order={}\">{}{}</a></th>", name,
                        to_descending ? "desc" : "asc", kHeadings[column], arrow);
  }

  const std::string root_;
  const std::string path_;
  const PageOrder order_;
};

}  // namespace

std::unique_ptr<PageFormat> make_html_page(const PageOptions& options) {
  return std::make_unique<HtmlPage>(options.root, options.path, options.order);
}

}  // namespace sluice

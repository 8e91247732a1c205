#include "net/http/date.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace sluice {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Reads a date piece by piece; after a mismatch everything fails. (strptime depends on the locale and is lenient.)
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  Reader& literal(std::string_view expected) {
    good_ = good_ && rest_.starts_with(expected);
    if (good_) rest_.remove_prefix(expected.size());
    return *this;
  }
  Reader& number(size_t digits, int* value) {
    const std::string_view text = rest_.substr(0, digits);
    good_ = good_ && text.size() == digits && text.find_first_not_of("0123456789") == std::string_view::npos;
    if (!good_) return *this;
    std::from_chars(text.data(), text.data() + text.size(), *value);
    rest_.remove_prefix(digits);
    return *this;
  }
  Reader& month(int* value) {
    const std::string_view text = rest_.substr(0, 3);
    for (size_t i = 0; i < kMonths.size(); ++i) {
      if (text != kMonths[i]) continue;
      *value = static_cast<int>(i);
      rest_.remove_prefix(3);
      return *this;
    }
    good_ = false;
    return *this;
  }
  Reader& clock(tm* time) {
    return number(2, &time->tm_hour).literal(":").number(2, &time->tm_min).literal(":").number(2, &time->tm_sec);
  }
  bool starts_with(char c) const { return rest_.starts_with(c); }
  bool done() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

bool read_fixdate(std::string_view text, tm* time) {  // 06 Nov 1994 08:49:37 GMT
  Reader reader(text);
  reader.number(2, &time->tm_mday).literal(" ").month(&time->tm_mon).literal(" ").number(4, &time->tm_year);
  time->tm_year -= 1900;
  return reader.literal(" ").clock(time).literal(" GMT").done();
}

bool read_rfc850(std::string_view text, tm* time) {  // 06-Nov-94 08:49:37 GMT
  Reader reader(text);
  reader.number(2, &time->tm_mday).literal("-").month(&time->tm_mon).literal("-").number(2, &time->tm_year);
  if (time->tm_year < 70) time->tm_year += 100;
  return reader.literal(" ").clock(time).literal(" GMT").done();
}

bool read_asctime(std::string_view text, tm* time) {  // Nov  6 08:49:37 1994
  Reader reader(text);
  reader.month(&time->tm_mon).literal(" ");
  if (reader.starts_with(' ')) {
    reader.literal(" ").number(1, &time->tm_mday);
  } else {
    reader.number(2, &time->tm_mday);
  }
  reader.literal(" ").clock(time).literal(" ").number(4, &time->tm_year);
  time->tm_year -= 1900;
  return reader.done();
}

bool is_possible(const tm& time) {
  return time.tm_mday >= 1 && time.tm_mday <= 31 && time.tm_hour <= 23 && time.tm_min <= 59 && time.tm_sec <= 60;
}

// Of the years 1 to 9999, which is what four digits can say. File systems hold others, by mistake.
tm utc_of(int64_t seconds) {
  static constexpr int64_t kFirst = -62'135'596'800;
  static constexpr int64_t kLast = 253'402'300'799;
  const time_t when = std::clamp(seconds, kFirst, kLast);
  tm time{};
  ::gmtime_r(&when, &time);
  return time;
}

}  // namespace

std::string format_http_date(int64_t seconds) {
  const tm time = utc_of(seconds);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[static_cast<size_t>(time.tm_wday)], time.tm_mday,
                     kMonths[static_cast<size_t>(time.tm_mon)], time.tm_year + 1900, time.tm_hour, time.tm_min,
                     time.tm_sec);
}

std::string format_iso_date(int64_t seconds, char between, std::string_view end) {
  const tm time = utc_of(seconds);
  return fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}", time.tm_year + 1900, time.tm_mon + 1, time.tm_mday,
                     between, time.tm_hour, time.tm_min, time.tm_sec, end);
}

std::optional<int64_t> parse_http_date(std::string_view text) {
  tm time{};
  const size_t comma = text.find(", ");
  bool good;
  if (comma == std::string_view::npos) {
    const size_t space = text.find(' ');
    good = space != std::string_view::npos && read_asctime(text.substr(space + 1), &time);
  } else if (comma == 3) {
    good = read_fixdate(text.substr(5), &time);
  } else {
    good = read_rfc850(text.substr(comma + 2), &time);
  }
  if (!good || !is_possible(time)) return std::nullopt;
  return ::timegm(&time);
}

}  // namespace sluice

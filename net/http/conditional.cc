#include "net/http/conditional.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>

#include "net/http/date.h"

namespace sluice {
namespace {

// Calls `matches` for each entity tag of a list until it says true. Commas can be part of a tag.
template <typename Matches>
bool any_tag(std::string_view list, Matches matches) {
  while (true) {
    const size_t start = list.find_first_not_of(", \t");
    if (start == std::string_view::npos) return false;
    list.remove_prefix(start);
    const bool weak = list.starts_with("W/");
    const std::string_view quoted = list.substr(weak ? 2 : 0);
    if (!quoted.starts_with('"')) return false;  // malformed: the rest means nothing
    const size_t end = quoted.find('"', 1);
    if (end == std::string_view::npos) return false;
    if (matches(weak, quoted.substr(0, end + 1))) return true;
    list = quoted.substr(end + 1);
  }
}

bool has_strong_match(std::string_view list, const Validators& validators) {
  if (list == "*") return true;
  if (!validators.trustworthy) return false;
  return any_tag(list, [&](bool weak, std::string_view tag) { return !weak && tag == validators.etag; });
}

bool has_weak_match(std::string_view list, const Validators& validators) {
  if (list == "*") return true;
  if (!validators.trustworthy) return false;
  return any_tag(list, [&](bool, std::string_view tag) { return tag == validators.etag; });
}

bool modified_after(std::string_view date, const Validators& validators, bool if_malformed) {
  const std::optional<int64_t> seconds = parse_http_date(date);
  return seconds ? validators.modified_s > *seconds : if_malformed;
}

}  // namespace

// Hashed: a plain one would tell the world inode numbers. The tag of a version that is not trustworthy must not equal
// the one it gets once it is.
Validators validators_of(const FileVersion& version) {
  const Stamp& stamp = version.stamp;
  const std::array<uint64_t, 4> words = {stamp.ino, stamp.size, static_cast<uint64_t>(stamp.mtime_ns),
                                         static_cast<uint64_t>(stamp.ctime_ns)};
  const uint64_t hash = XXH3_64bits(words.data(), sizeof words);
  const int64_t floor_s = stamp.mtime_ns / 1'000'000'000 - (stamp.mtime_ns % 1'000'000'000 < 0 ? 1 : 0);
  return {.etag = version.trustworthy ? fmt::format("\"{:016x}\"", hash) : fmt::format("W/\"{:016x}-w\"", hash),
          .trustworthy = version.trustworthy,
          .modified_s = floor_s};
}

Verdict check_preconditions(const HttpRequest& request, const Validators& validators) {
  if (!request.if_match.empty()) {
    if (!has_strong_match(request.if_match, validators)) return Verdict::failed;
  } else if (!request.if_unmodified_since.empty()) {
    if (modified_after(request.if_unmodified_since, validators, false)) return Verdict::failed;
  }
  if (!request.if_none_match.empty()) {
    return has_weak_match(request.if_none_match, validators) ? Verdict::not_modified : Verdict::send;
  }
  if (!request.if_modified_since.empty() && validators.trustworthy) {
    if (!modified_after(request.if_modified_since, validators, true)) return Verdict::not_modified;
  }
  return Verdict::send;
}

bool range_counts(const HttpRequest& request, const Validators& validators) {
  const std::string_view condition = request.if_range;
  if (condition.empty()) return true;
  if (!validators.trustworthy) return false;
  if (condition.starts_with('"')) return condition == validators.etag;
  return parse_http_date(condition) == validators.modified_s;
}

}  // namespace sluice

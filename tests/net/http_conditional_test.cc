#include "net/http/conditional.h"

#include "net/http/date.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

constexpr int64_t kModified = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr const char* kDate = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr const char* kEarlier = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr const char* kLater = "Mon, 07 Nov 1994 08:49:37 GMT";

FileVersion version_of(bool trustworthy, uint64_t size = 5) {
  FileVersion version;
  version.stamp = {.ino = 1, .birth_ns = 2, .size = size, .mtime_ns = kModified * 1'000'000'000 + 5, .ctime_ns = 7};
  version.trustworthy = trustworthy;
  return version;
}

TEST_CASE("http date: all three forms are read, one is written", "[net][http]") {
  CHECK(format_http_date(kModified) == kDate);
  CHECK(format_http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(parse_http_date(kDate) == kModified);
  CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == kModified);
  CHECK(parse_http_date("Sun Nov  6 08:49:37 1994") == kModified);
  CHECK(parse_http_date("Wed, 30 Nov 2044 23:59:60 GMT"));
  for (const char* wrong :
       {"", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMTx", ",", "Sun,", "Sun, "}) {
    INFO(wrong);
    CHECK_FALSE(parse_http_date(wrong));
  }
}

TEST_CASE("http date: years have four digits, whatever a file system says", "[net][http]") {
  CHECK(format_iso_date(kModified, 'T', "Z") == "1994-11-06T08:49:37Z");
  CHECK(format_iso_date(-1, ' ', "") == "1969-12-31 23:59:59");
  for (const int64_t late : {int64_t{253'402'300'799}, int64_t{253'402'300'800}, int64_t{1} << 62, INT64_MAX}) {
    CHECK(format_iso_date(late, 'T', "Z") == "9999-12-31T23:59:59Z");
    CHECK(format_http_date(late) == "Fri, 31 Dec 9999 23:59:59 GMT");
  }
  for (const int64_t early : {-62'135'596'800, -62'135'596'801, INT64_MIN}) {
    CHECK(format_iso_date(early, 'T', "Z") == "0001-01-01T00:00:00Z");
    CHECK(format_http_date(early) == "Mon, 01 Jan 0001 00:00:00 GMT");
  }
}

TEST_CASE("http validators: a version has one strong tag, and a doubtful one a weak tag of its own", "[net][http]") {
  const Validators strong = validators_of(version_of(true));
  CHECK(strong.etag.starts_with('"'));
  CHECK(strong.etag.ends_with('"'));
  CHECK(strong.modified_s == kModified);
  CHECK(validators_of(version_of(true)).etag == strong.etag);
  CHECK(validators_of(version_of(true, 6)).etag != strong.etag);
  const Validators weak = validators_of(version_of(false));
  CHECK(weak.etag.starts_with("W/\""));
  CHECK(weak.etag.substr(2) != strong.etag);
  FileVersion old = version_of(true);
  old.stamp.mtime_ns = -1;
  CHECK(validators_of(old).modified_s == -1);
}

TEST_CASE("http conditions: decided in the order of RFC 9110", "[net][http]") {
  const Validators now = validators_of(version_of(true));
  const std::string other = "\"other\"";
  const auto check = [&](auto set) {
    HttpRequest request;
    set(request);
    return check_preconditions(request, now);
  };
  using R = HttpRequest;
  CHECK(check([](R&) {}) == Verdict::send);

  CHECK(check([&](R& r) { r.if_none_match = now.etag; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_none_match = "W/" + now.etag; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_none_match = other + ",\t" + now.etag + " , \"z\""; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_none_match = "\"with, comma\", " + now.etag; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_none_match = "*"; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_none_match = other; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_none_match = now.etag.substr(1, now.etag.size() - 2); }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_none_match = "\"open"; }) == Verdict::send);

  CHECK(check([&](R& r) { r.if_modified_since = kDate; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_modified_since = kLater; }) == Verdict::not_modified);
  CHECK(check([&](R& r) { r.if_modified_since = kEarlier; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_modified_since = "nonsense"; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_none_match = other, r.if_modified_since = kDate; }) == Verdict::send);

  CHECK(check([&](R& r) { r.if_match = now.etag; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_match = "*"; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_match = other; }) == Verdict::failed);
  CHECK(check([&](R& r) { r.if_match = "W/" + now.etag; }) == Verdict::failed);
  CHECK(check([&](R& r) { r.if_match = other, r.if_none_match = now.etag; }) == Verdict::failed);
  CHECK(check([&](R& r) { r.if_match = now.etag, r.if_none_match = now.etag; }) == Verdict::not_modified);

  CHECK(check([&](R& r) { r.if_unmodified_since = kDate; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_unmodified_since = kEarlier; }) == Verdict::failed);
  CHECK(check([&](R& r) { r.if_unmodified_since = "nonsense"; }) == Verdict::send);
  CHECK(check([&](R& r) { r.if_match = now.etag, r.if_unmodified_since = kEarlier; }) == Verdict::send);
}

TEST_CASE("http conditions: a version that is not trustworthy matches nothing", "[net][http]") {
  const Validators now = validators_of(version_of(false));
  HttpRequest request;
  request.if_none_match = now.etag;
  CHECK(check_preconditions(request, now) == Verdict::send);
  request.if_none_match = "";
  request.if_modified_since = kDate;
  CHECK(check_preconditions(request, now) == Verdict::send);
  request.if_modified_since = "";
  request.if_match = now.etag;
  CHECK(check_preconditions(request, now) == Verdict::failed);
  request.if_range = now.etag;
  CHECK_FALSE(range_counts(request, now));
  request.if_range = kDate;
  CHECK_FALSE(range_counts(request, now));
}

TEST_CASE("http conditions: If-Range wants exactly this version", "[net][http]") {
  const Validators now = validators_of(version_of(true));
  const auto counts = [&](std::string_view condition) {
    HttpRequest request;
    request.if_range = condition;
    return range_counts(request, now);
  };
  CHECK(counts(""));
  CHECK(counts(now.etag));
  CHECK_FALSE(counts("W/" + now.etag));
  CHECK_FALSE(counts("\"other\""));
  CHECK(counts(kDate));
  CHECK_FALSE(counts(kEarlier));
  CHECK_FALSE(counts(kLater));
  CHECK_FALSE(counts("nonsense"));
}

}  // namespace
}  // namespace sluice

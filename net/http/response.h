// Writing the heads of responses.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/http/conditional.h"
#include "net/http/range.h"
#include "net/http/status.h"

namespace sluice {

// The Date field's value, formatted once per second.
class DateCache {
 public:
  std::string_view at(std::chrono::nanoseconds realtime);
  int64_t seconds() const { return seconds_; }  // of the last answer, since 1970

 private:
  int64_t seconds_ = -1;
  std::string text_;
};

// What every response says of its connection.
struct ResponseContext {
  std::string_view date;
  bool keep_alive = true;
  bool version_1_0 = false;    // of the request
  int64_t date_s = INT64_MAX;  // the date, since 1970
};

// The value of the Content-Range field.
std::string content_range(const BytePart& part, uint64_t size);

struct FileAnswer {
  const Validators& validators;
  const RangeAnswer& range;
  uint64_t size = 0;  // of the file
  uint64_t body_length = 0;
  std::string_view content_type;   // of the body
  std::string_view cache_control;  // empty: none
};
// 200, 206 or 304.
std::string file_head(const ResponseContext& context, HttpStatus status, const FileAnswer& file);

// 200 of a directory's page, whose length nobody knows yet.
std::string listing_head(const ResponseContext& context, std::string_view content_type);

// 200 of a page that was made for this answer.
std::string page_head(const ResponseContext& context, std::string_view content_type, uint64_t length);

// 204: the answer to OPTIONS.
std::string options_head(const ResponseContext& context);

struct Refusal {
  HttpStatus status;
  uint64_t size = 0;               // of the file, for 416
  std::string_view location = {};  // for 301
  bool without_body = false;       // the answer to a HEAD request
};
// A whole response with a line of text for people.
std::string refusal(const ResponseContext& context, const Refusal& refusal);

}  // namespace sluice

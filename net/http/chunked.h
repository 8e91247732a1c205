// ChunkedBody finds where a request's body in chunks ends (RFC 9112, section 7.1), and keeps nothing of it. It comes in
// pieces cut anywhere.
//
// Strict, because what another server on the way takes for the end must be the end here: sizes of hexadecimal digits
// alone, extensions only after ";", CR LF and no bare CR or LF, no control characters, trailers that look like fields.
#pragma once

#include <cstdint>
#include <string_view>

#include "net/http/status.h"

namespace sluice {

class ChunkedBody {
 public:
  // `bytes_max`: of the body with all that frames it.
  explicit ChunkedBody(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // How many of these bytes belong to the body: all, unless it ends in them or is found too long. 400: it is malformed.
  HttpResult<size_t> skip(std::string_view bytes);
  bool done() const { return state_ == State::done; }
  bool too_long() const { return too_long_; }  // not looked at any further
  uint64_t taken_bytes() const { return taken_; }

 private:
  enum class State : uint8_t {
    size,
    extension,
    size_end,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_name,
    trailer_value,
    trailer_end,
    last_end,
    done,
  };

  bool take(char c);  // false: malformed
  bool take_size(char c);

  const uint64_t bytes_max_;
  State state_ = State::size;
  bool has_digits_ = false;
  bool after_blank_ = false;  // between the size and the ";" of its extension
  bool too_long_ = false;
  uint64_t chunk_left_ = 0;
  uint64_t taken_ = 0;
};

}  // namespace sluice

#include "net/http/chunked.h"

#include <algorithm>

#include "net/http/characters.h"

namespace sluice {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// What may be in a field's value or a chunk's extension.
bool is_text(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= ' ' && byte != 0x7f) || c == '\t';
}

}  // namespace

HttpResult<size_t> ChunkedBody::skip(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size() && !done() && !too_long_) {
    if (state_ == State::data) {
      const uint64_t some = std::min<uint64_t>(chunk_left_, bytes.size() - at);
      chunk_left_ -= some;
      taken_ += some;
      at += some;
      if (chunk_left_ == 0) state_ = State::data_cr;
    } else {
      if (!take(bytes[at])) return refuse_with(HttpStatus::bad_request);
      ++at;
      ++taken_;
    }
    too_long_ = taken_ + chunk_left_ > bytes_max_;
  }
  return at;
}

bool ChunkedBody::take(char c) {
  const auto expect = [this, c](char expected, State next) {
    state_ = next;
    return c == expected;
  };
  switch (state_) {
    case State::size: return take_size(c);
    case State::extension:
      if (c == '\r') state_ = State::size_end;
      return c == '\r' || is_text(c);
    case State::size_end: return expect('\n', chunk_left_ > 0 ? State::data : State::trailer_start);
    case State::data_cr: return expect('\r', State::data_lf);
    case State::data_lf: has_digits_ = after_blank_ = false; return expect('\n', State::size);
    case State::trailer_start:
      state_ = c == '\r' ? State::last_end : State::trailer_name;
      return c == '\r' || is_token_character(c);
    case State::trailer_name:
      if (c == ':') state_ = State::trailer_value;
      return c == ':' || is_token_character(c);
    case State::trailer_value:
      if (c == '\r') state_ = State::trailer_end;
      return c == '\r' || is_text(c);
    case State::trailer_end: return expect('\n', State::trailer_start);
    case State::last_end: return expect('\n', State::done);
    case State::data:
    case State::done: break;
  }
  return false;
}

bool ChunkedBody::take_size(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0 && !after_blank_) {
    chunk_left_ = chunk_left_ * 16 + static_cast<uint64_t>(digit);
    has_digits_ = true;
    return true;
  }
  if (!has_digits_) return false;
  if (c == ';') {
    state_ = State::extension;
    return true;
  }
  if (is_blank(c)) {
    after_blank_ = true;
    return true;
  }
  state_ = State::size_end;
  return c == '\r' && !after_blank_;
}

}  // namespace sluice

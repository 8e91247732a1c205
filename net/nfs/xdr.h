// XDR (RFC 4506) as ONC RPC and NFS use it: big-endian words, byte strings padded to words.
//
// XdrReader never reads past its bytes, never allocates, and fails for good: after the first thing that is too short or
// too long every value is 0 or empty, so that a caller decodes all arguments and asks `ok()` once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

class XdrReader {
 public:
  explicit XdrReader(std::string_view bytes) : rest_(bytes) {}

  uint32_t u32();
  uint64_t u64();
  bool boolean() { return choice(2) == 1; }
  // One of 0 .. below `end`; anything else fails.
  uint32_t choice(uint32_t end);
  // Points into the bytes.
  std::string_view fixed(size_t length);
  std::string_view opaque(size_t length_max);

  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view take(size_t length);

  std::string_view rest_;
  bool ok_ = true;
};

class XdrWriter {
 public:
  XdrWriter& u32(uint32_t value);
  XdrWriter& u64(uint64_t value);
  XdrWriter& boolean(bool value) { return u32(value ? 1 : 0); }
  XdrWriter& fixed(std::string_view bytes);
  XdrWriter& opaque(std::string_view bytes);
  XdrWriter& raw(std::string_view words) {
    bytes_.append(words);
    return *this;
  }
  // In place of what `u32` wrote at this position.
  void patch(size_t position, uint32_t value);
  // Forgets what was written after this position.
  void truncate(size_t position) { bytes_.resize(position); }
  void reserve(size_t bytes) { bytes_.reserve(bytes); }

  size_t size() const { return bytes_.size(); }
  std::string take() { return std::move(bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

inline constexpr size_t kXdrWord = 4;
// Bytes that follow a byte string of this length.
constexpr size_t xdr_padding(size_t length) {
  return (kXdrWord - length % kXdrWord) % kXdrWord;
}
// That one takes with its length.
constexpr size_t xdr_opaque_size(size_t length) {
  return kXdrWord + length + xdr_padding(length);
}

}  // namespace sluice

#include "net/nfs/xdr.h"

#include <endian.h>

#include <cstring>

namespace sluice {

std::string_view XdrReader::take(size_t length) {
  if (!ok_ || length > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const std::string_view bytes = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return bytes;
}

uint32_t XdrReader::u32() {
  const std::string_view bytes = take(sizeof(uint32_t));
  if (bytes.empty()) return 0;
  uint32_t value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return be32toh(value);
}

uint64_t XdrReader::u64() {
  const uint64_t high = u32();
  const uint64_t low = u32();
  return ok_ ? high << 32 | low : 0;
}

uint32_t XdrReader::choice(uint32_t end) {
  const uint32_t value = u32();
  if (value < end) return value;
  ok_ = false;
  rest_ = {};
  return 0;
}

std::string_view XdrReader::fixed(size_t length) {
  const std::string_view bytes = take(length);
  take(xdr_padding(length));
  return ok_ ? bytes : std::string_view();
}

std::string_view XdrReader::opaque(size_t length_max) {
  const uint32_t length = u32();
  if (length <= length_max) return fixed(length);
  ok_ = false;
  rest_ = {};
  return {};
}

XdrWriter& XdrWriter::u32(uint32_t value) {
  const uint32_t wire = htobe32(value);
  bytes_.append(reinterpret_cast<const char*>(&wire), sizeof wire);
  return *this;
}

XdrWriter& XdrWriter::u64(uint64_t value) {
  const uint64_t wire = htobe64(value);
  bytes_.append(reinterpret_cast<const char*>(&wire), sizeof wire);
  return *this;
}

XdrWriter& XdrWriter::fixed(std::string_view bytes) {
  bytes_.append(bytes);
  bytes_.append(xdr_padding(bytes.size()), '\0');
  return *this;
}

XdrWriter& XdrWriter::opaque(std::string_view bytes) {
  u32(static_cast<uint32_t>(bytes.size()));
  return fixed(bytes);
}

void XdrWriter::patch(size_t position, uint32_t value) {
  const uint32_t wire = htobe32(value);
  std::memcpy(bytes_.data() + position, &wire, sizeof wire);
}

}  // namespace sluice

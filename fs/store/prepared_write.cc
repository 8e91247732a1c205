#include "fs/store/prepared_write.h"

#include <string.h>

#include <algorithm>
#include <array>

#include "cache/assert.h"

namespace sluice {

PreparedWrite::PreparedWrite(BlockCache* cache, uint64_t at, uint64_t length) : offset(at), size(length) {
  const uint64_t end = offset + size;
  const uint64_t middle_start = std::min(end, (offset + kPageSize - 1) / kPageSize * kPageSize);
  const uint64_t middle_end = std::max(middle_start, end / kPageSize * kPageSize);
  head = {offset, std::string(middle_start - offset, '\0')};
  tail = {middle_end, std::string(end - middle_end, '\0')};
  middle_offset = middle_start;
  middle_size = middle_end - middle_start;
  if (middle_size == 0) return;
  if (cache != nullptr) middle = cache->allocate(middle_size / kPageSize);
  if (middle.pages() == 0) bounce.reset(static_cast<char*>(::aligned_alloc(kPageSize, middle_size)));
}

void PreparedWrite::fill(std::string_view next) {
  ASSERT(next.size() <= missing());
  // Of `next` what falls into the part that begins at `start`, of `length` bytes: where there, and how much.
  const auto copy_part = [&](uint64_t start, uint64_t length, const auto& buffers_of) {
    const uint64_t position = offset + filled;
    if (next.empty() || position < start || position >= start + length) return;
    const uint64_t count = std::min<uint64_t>(next.size(), start + length - position);
    for (const iovec& to : buffers_of(position - start, count)) {
      ::memcpy(to.iov_base, next.data(), to.iov_len);
      next.remove_prefix(to.iov_len);
    }
    filled += count;
  };
  const auto within = [](Part& part) {
    return [&part](uint64_t skip, uint64_t count) { return std::array{iovec{part.bytes.data() + skip, count}}; };
  };
  copy_part(head.offset, head.bytes.size(), within(head));
  copy_part(middle_offset, middle_size, [&](uint64_t skip, uint64_t count) { return middle_buffers(skip, count); });
  copy_part(tail.offset, tail.bytes.size(), within(tail));
  if (missing() == 0) room.reset();
}

std::vector<iovec> PreparedWrite::middle_buffers(uint64_t skip, uint64_t length) const {
  std::vector<iovec> buffers;
  if (bounce) {
    buffers.push_back({bounce.get() + skip, length});
  } else {
    middle.append_iovecs(skip, length, buffers);
  }
  return buffers;
}

std::vector<iovec> PreparedWrite::buffers() const {
  std::vector<iovec> buffers = middle_buffers();
  if (!head.empty()) buffers.insert(buffers.begin(), head.buffer());
  if (!tail.empty()) buffers.push_back(tail.buffer());
  return buffers;
}

}  // namespace sluice

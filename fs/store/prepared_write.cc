#include "fs/store/prepared_write.h"

#include <string.h>

#include <algorithm>

namespace sluice {

PreparedWrite::PreparedWrite(BlockCache& cache, uint64_t at, std::string_view bytes) : offset(at), size(bytes.size()) {
  const uint64_t end = offset + size;
  const uint64_t middle_start = std::min(end, (offset + kPageSize - 1) / kPageSize * kPageSize);
  const uint64_t middle_end = std::max(middle_start, end / kPageSize * kPageSize);
  head = {offset, std::string(bytes.substr(0, middle_start - offset))};
  tail = {middle_end, std::string(bytes.substr(middle_end - offset))};
  middle_offset = middle_start;
  middle_size = middle_end - middle_start;
  if (middle_size > 0) copy_middle(cache, bytes.data() + (middle_start - offset));
}

std::vector<iovec> PreparedWrite::middle_buffers() const {
  std::vector<iovec> buffers;
  if (bounce) {
    buffers.push_back({bounce.get(), middle_size});
  } else {
    middle.append_iovecs(0, middle_size, buffers);
  }
  return buffers;
}

std::vector<iovec> PreparedWrite::buffers() const {
  std::vector<iovec> buffers = middle_buffers();
  if (!head.empty()) buffers.insert(buffers.begin(), head.buffer());
  if (!tail.empty()) buffers.push_back(tail.buffer());
  return buffers;
}

void PreparedWrite::copy_middle(BlockCache& cache, const char* from) {
  middle = cache.allocate(middle_size / kPageSize);
  if (middle.pages() == 0) bounce.reset(static_cast<char*>(::aligned_alloc(kPageSize, middle_size)));
  for (const iovec& to : middle_buffers()) {
    ::memcpy(to.iov_base, from, to.iov_len);
    from += to.iov_len;
  }
}

}  // namespace sluice

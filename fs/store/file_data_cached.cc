// What an administrator does to the cached pages of a file.
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "fs/store/file_data_impl.h"

namespace sluice {

void FileDataImpl::warm(uint64_t offset, uint64_t length, Callback<void(Result<uint64_t>)> done) {
  const auto wanted = slice_of(offset, length);
  if (!wanted) return done(0);
  context_.cache->want(*cached_, wanted->read.generation, wanted->read.pages);
  read_attempt({offset, length, IoClass::readahead},
               [self = shared_from_this(), done = std::move(done)](Result<FileSlice> slice) mutable {
                 self->context_.cache->want_no_more(*self->cached_);
                 if (!slice) return done(tl::unexpected(slice.error()));
                 done(slice->length);
               });
}

uint64_t FileDataImpl::evict() {
  return context_.cache->drop(*cached_, generation(), kWholeFile) * kPageSize;
}

Result<void> FileDataImpl::pin() {
  TRY(context_.cache->pin(*cached_, size()));
  pinned_.store(true, std::memory_order_relaxed);
  return {};
}

void FileDataImpl::unpin() {
  context_.cache->unpin(*cached_);
  pinned_.store(false, std::memory_order_relaxed);
}

std::optional<uint64_t> FileDataImpl::disk_position() const {
  const SharedFd fd = any_fd();
  if (!fd) return std::nullopt;
  alignas(fiemap) char room[sizeof(fiemap) + sizeof(fiemap_extent)] = {};
  auto* request = reinterpret_cast<fiemap*>(room);
  request->fm_length = FIEMAP_MAX_OFFSET;
  request->fm_extent_count = 1;
  if (::ioctl(fd->get(), FS_IOC_FIEMAP, request) != 0 || request->fm_mapped_extents == 0) return std::nullopt;
  return request->fm_extents[0].fe_physical;
}

}  // namespace sluice

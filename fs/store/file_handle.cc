#include "fs/store/file_handle.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "cache/assert.h"

namespace sluice {
namespace {

union HandleBuffer {
  struct file_handle handle;
  char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

}  // namespace

FileHandle FileHandle::of(int fd) {
  HandleBuffer buffer;
  buffer.handle.handle_bytes = MAX_HANDLE_SZ;
  int mount_id;
  if (::name_to_handle_at(fd, "", &buffer.handle, &mount_id, AT_EMPTY_PATH) != 0) return {};
  return of(buffer.handle);
}

FileHandle FileHandle::of(const struct ::file_handle& handle) {
  FileHandle result;
  // One byte for the type: the kernel's own are below 256.
  if (handle.handle_type < 0 || handle.handle_type > 255) return result;
  result.bytes_.reserve(1 + handle.handle_bytes);
  result.bytes_.push_back(static_cast<char>(handle.handle_type));
  result.bytes_.append(reinterpret_cast<const char*>(handle.f_handle), handle.handle_bytes);
  return result;
}

FileHandle FileHandle::from_bytes(std::string bytes) {
  FileHandle result;
  if (bytes.size() > 1 && bytes.size() <= 1 + MAX_HANDLE_SZ) result.bytes_ = std::move(bytes);
  return result;
}

uint64_t FileHandle::hash() const {
  return std::hash<std::string>{}(bytes_);
}

Result<UniqueFd> FileHandle::open(int mount_fd) const {
  ASSERT(!empty());
  HandleBuffer buffer;
  buffer.handle.handle_type = static_cast<unsigned char>(bytes_[0]);
  buffer.handle.handle_bytes = bytes_.size() - 1;
  std::memcpy(buffer.handle.f_handle, bytes_.data() + 1, bytes_.size() - 1);
  UniqueFd fd(::open_by_handle_at(mount_fd, &buffer.handle, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail(errno);
  return fd;
}

}  // namespace sluice

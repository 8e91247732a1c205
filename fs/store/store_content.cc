// What is cached of which files, in a form that outlives the process.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {

std::vector<CachedContent> StoreImpl::cached_content() {
  std::vector<CachedContent> all;
  for (const InodeRef& inode : table_.with_data()) {
    const std::shared_ptr<FileData> data = table_.data(inode);
    const FileVersion version = data->version();
    if (data->cached_blocks() == 0 || !version.trustworthy) continue;
    CachedContent content{.handle = inode->handle.bytes(),
                          .path = table_.path_of(inode).value_or(""),
                          .stamp = version.stamp,
                          .pages = data->used_pages()};
    if (content.pages.empty() || (content.handle.empty() && content.path.empty())) continue;
    all.push_back(std::move(content));
  }
  return all;
}

Result<std::unique_ptr<OpenFile>> StoreImpl::open_content(const CachedContent& content) {
  act_as_gateway();
  const FileHandle handle = root_.has_handles() ? FileHandle::from_bytes(content.handle) : FileHandle();
  const UniqueFd fd = TRY(with_spare_descriptors([&]() -> Result<UniqueFd> {
    if (!handle.empty()) return root_.open_handle(handle);
    if (content.path.empty()) return fail(ESTALE);
    return root_.open_long_path(content.path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  }));
  const Statx attributes = TRY(read_statx(fd.get()));
  if (!S_ISREG(attributes.stx_mode) || stamp_of(attributes) != content.stamp) return fail(ESTALE);
  const InodeRef inode = intern(fd.get(), attributes, 0);
  OpenedData data = TRY(open_data(inode, fd.get(), O_RDONLY));
  return make_open_file({inode, std::move(data), O_RDONLY, {}}, readahead());
}

}  // namespace sluice

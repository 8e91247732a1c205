// The end: what was lost on the way to the backing is told to the administrator when nobody else was.
#include <cerrno>
#include <utility>

#include "fs/store/store_impl.h"

namespace sluice {

void StoreImpl::sync_open_files() {
  for (const auto& file : open_files_.list()) {
    const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
    file->sync_unsynced();
  }
}

// What kept delayed bytes from becoming durable, 0 for nothing.
int StoreImpl::write_last(FileData& data) {
  if (!data.is_dirty()) return 0;
  const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
  Result<void> outcome = data.write_back();
  if (outcome) outcome = data.sync_written();
  if (!data.is_dirty()) return 0;
  return outcome ? EIO : outcome.error().number;
}

std::vector<UnwrittenFile> StoreImpl::finish() {
  stop_housekeeping();  // it may be about to note an error
  if (write_back_ != nullptr) write_back_->stop();
  std::vector<UnwrittenFile> unwritten;
  for (const InodeRef& inode : table_.with_data()) {
    const std::shared_ptr<FileData> data = table_.data(inode);
    if (const int error = write_last(*data)) {
      unwritten.push_back({table_.path_of(inode).value_or(std::string()), error});
      continue;
    }
    if (data->needs_tidy()) {
      const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
      data->tidy();
    }
    const int error = data->untold_write_error();
    if (error == 0 || !table_.is_current(inode)) continue;
    unwritten.push_back({table_.path_of(inode).value_or(std::string()), error});
  }
  return unwritten;
}

}  // namespace sluice

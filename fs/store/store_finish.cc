// The end: what was lost on the way to the backing is told to the administrator when nobody else was.
#include <cerrno>
#include <memory>
#include <utility>

#include "fs/store/store_impl.h"

namespace sluice {

void StoreImpl::sync_open_files() {
  for (const auto& file : open_files_.list()) {
    const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
    file->sync_unsynced();
  }
}

void StoreImpl::finish_delayed() {
  if (write_back_ == nullptr) return;
  write_back_->stop();
  for (const auto& file : write_back_->files()) {
    if (!file->is_dirty()) continue;
    const BackingCall call(options_.health, BackingUser::fuse, BackingUse::change);
    if (file->write_back()) (void)file->sync_written();
  }
}

std::vector<UnwrittenFile> StoreImpl::finish() {
  stop_housekeeping();  // it may be about to note an error
  std::vector<UnwrittenFile> unwritten;
  for (const InodeRef& inode : table_.with_data()) {
    const std::shared_ptr<FileData> data = table_.data(inode);
    if (data->is_dirty() && data->untold_write_error() == 0) data->note_write_error(EIO);
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

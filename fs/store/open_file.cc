#include "fs/store/open_file.h"

#include <fcntl.h>

#include <optional>
#include <utility>

#include "cache/mutex.h"

namespace sluice {
namespace {

class StoreOpenFile final : public OpenFile {
 public:
  StoreOpenFile(OpenFileParts parts, const ReadaheadOptions& readahead)
      : parts_(std::move(parts)), readahead_(readahead) {}

  InodeNumber inode() const override { return parts_.inode->number; }
  int flags() const override { return parts_.flags; }
  FileData& data() override { return **parts_.data; }
  std::shared_ptr<FileData> shared_data() override { return *parts_.data; }

  void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
    // Once `done` may have run, another thread may have closed this file: go on with copies.
    const std::shared_ptr<FileData> data = *parts_.data;
    const std::optional<PageRange> ahead = plan_readahead(pages_of(offset, length), data->file_pages());
    if (!ahead) return data->read(offset, length, std::move(done));
    // The disk starts before a hit is answered, which may take as long as copying 1 MiB; but demand goes before
    // readahead.
    std::optional<FileSlice> resident = data->read_resident(offset, length);
    if (!resident) data->read(offset, length, std::move(done));
    data->prefetch(*ahead);
    if (resident) done(std::move(*resident));
  }

  void write(uint64_t offset, std::string_view bytes, Callback<void(Result<size_t>)> done) override {
    parts_.data->write(offset, bytes, (parts_.flags & O_APPEND) != 0, std::move(done));
  }

 private:
  std::optional<PageRange> plan_readahead(PageRange pages, uint64_t file_pages) {
    if (pages.empty() || pages.first >= file_pages) return std::nullopt;
    MutexLock lock(&mutex_);
    return readahead_.on_read(pages, file_pages);
  }

  const OpenFileParts parts_;
  Mutex mutex_;
  Readahead readahead_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<OpenFile> make_open_file(OpenFileParts parts, const ReadaheadOptions& readahead) {
  return std::make_unique<StoreOpenFile>(std::move(parts), readahead);
}

}  // namespace sluice

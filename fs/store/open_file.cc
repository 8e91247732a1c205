#include "fs/store/open_file.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "cache/mutex.h"

namespace sluice {
namespace {

// Outlives the open file while a read is under way.
class SharedReadahead {
 public:
  SharedReadahead(const ReadaheadOptions& options, std::shared_ptr<FileData> data)
      : data_(std::move(data)), readahead_(options, &data_->left_streams()) {}

  Readahead::Plan plan(uint64_t offset, uint64_t length) {
    const uint64_t size = data_->size();
    if (offset >= size) return {};
    MutexLock lock(&mutex_);
    return readahead_.on_read(offset, std::min(length, size - offset), size);
  }
  // After a plan for the same read.
  Readahead::Plan on_loss(uint64_t offset, uint64_t length) {
    const uint64_t size = data_->size();
    if (offset >= size) return {};
    MutexLock lock(&mutex_);
    return readahead_.on_loss(offset, std::min(length, size - offset), size);
  }

 private:
  const std::shared_ptr<FileData> data_;
  Mutex mutex_{Mutex::Spins::yes};
  Readahead readahead_ GUARDED_BY(mutex_);
};

class StoreOpenFile : public OpenFile {
 public:
  explicit StoreOpenFile(OpenFileParts parts) : parts_(std::move(parts)) {}

  InodeNumber inode() const override { return parts_.inode->number; }
  int flags() const override { return parts_.flags; }
  FileData& data() override { return **parts_.data; }
  std::shared_ptr<FileData> shared_data() override { return *parts_.data; }
  Result<void> fsync(bool data_only) override { return parts_.data->fsync(data_only, &told_); }
  Result<void> flush() override { return parts_.data->flush(&told_); }

 protected:
  const OpenFileParts parts_;

 private:
  WriteErrors::Told told_ = parts_.data->known_write_errors();  // guarded by the data
};

class ReadingAhead final : public StoreOpenFile {
 public:
  ReadingAhead(OpenFileParts parts, const ReadaheadOptions& readahead)
      : StoreOpenFile(std::move(parts)), readahead_(std::make_shared<SharedReadahead>(readahead, *parts_.data)) {}

  void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
    Readahead::Plan plan = readahead_->plan(offset, length);
    if (plan.prefetch.empty() && !plan.was_ahead) {
      parts_.data->read(offset, length, std::move(done));
      return;
    }
    // Once `done` may have run, another thread may have closed this file: go on with copies.
    const std::shared_ptr<FileData> data = *parts_.data;
    const auto prefetch = [&] {
      for (const PageRange range : plan.prefetch) data->prefetch(range);
    };
    if (std::optional<FileSlice> resident = data->read_resident(offset, length)) {
      prefetch();  // first: answering may take as long as copying 1 MiB
      return done(std::move(*resident));
    }
    const std::shared_ptr<SharedReadahead> readahead = readahead_;
    if (data->read(offset, length, std::move(done)) > 0 && plan.was_ahead) plan = readahead->on_loss(offset, length);
    prefetch();
  }

 private:
  const std::shared_ptr<SharedReadahead> readahead_;
};

// After FileData::open_cached.
class CachedOnly final : public StoreOpenFile {
 public:
  using StoreOpenFile::StoreOpenFile;

  void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
    std::optional<FileSlice> resident = parts_.data->read_resident(offset, length);
    if (!resident) return done(fail(ESTALE));
    done(std::move(*resident));
  }
};

}  // namespace

std::unique_ptr<OpenFile> make_open_file(OpenFileParts parts, const ReadaheadOptions& readahead) {
  return std::make_unique<ReadingAhead>(std::move(parts), readahead);
}

std::unique_ptr<OpenFile> make_cached_file(OpenFileParts parts) {
  return std::make_unique<CachedOnly>(std::move(parts));
}

}  // namespace sluice

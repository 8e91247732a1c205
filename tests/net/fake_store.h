// FakeStore is an export that lives in arena memory, for tests of the network side. Each file is so many bytes of a
// formula; reads complete inside the call, or when the test says so, from the thread that says so.
//
//   FakeStore store;
//   store.add("a.bin", {.size = 100'000});
//   store.file("a.bin").park_reads = true;      // from now on reads wait for run_parked()
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/arena.h"
#include "cache/assert.h"
#include "cache/mutex.h"
#include "fs/store/store.h"

namespace sluice {

struct FakeFile {
  uint64_t size = 0;
  int64_t mtime_ns = 1'600'000'000'000'000'000;
  bool trustworthy = true;
  uint32_t generation = 1;
  int read_error = 0;
  uint32_t read_errors_max = UINT32_MAX;  // so many reads meet it
  uint64_t shrunk_to = UINT64_MAX;        // what reads see, while attributes still say `size`
  bool park_reads = false;
  PageRefs pages;

  char byte_at(uint64_t offset) const { return static_cast<char>((offset * 31 + (offset >> 12) * 7 + size) & 0xff); }
};

class FakeStore : public Store {
 public:
  explicit FakeStore(uint32_t slabs = 16)
      : arena_(std::move(*Arena::create({.slabs_max = slabs, .proof = ReleaseProof::replace}))) {}
  ~FakeStore() override { ASSERT(open_files == 0); }
  void set_readahead_window(uint64_t) override {}

  struct FileOptions {
    uint64_t size = 0;
    bool trustworthy = true;
    int64_t mtime_ns = 1'600'000'000'000'000'000;
  };
  FakeFile& add(const std::string& path, const FileOptions& options) {
    auto file = std::make_unique<FakeFile>();
    file->size = options.size;
    file->trustworthy = options.trustworthy;
    file->mtime_ns = options.mtime_ns;
    file->pages = PageRefs(arena_.get());
    std::vector<FrameRun> runs;
    const auto pages = static_cast<uint32_t>((options.size + kPageSize - 1) / kPageSize);
    ASSERT(arena_->allocate(pages, runs) == pages);
    uint64_t offset = 0;
    for (const FrameRun& run : runs) {
      char* const bytes = arena_->address(run.first);
      for (uint32_t i = 0; i < run.count * kPageSize; ++i, ++offset) bytes[i] = file->byte_at(offset);
      file->pages.append(run);
    }
    FakeFile& result = *file;
    files_[path] = std::move(file);
    return result;
  }
  FakeFile& file(const std::string& path) { return *files_.at(path); }
  std::string content(const std::string& path, uint64_t offset = 0, uint64_t length = UINT64_MAX) {
    const FakeFile& file = *files_.at(path);
    std::string bytes;
    for (uint64_t i = offset; i < file.size && i - offset < length; ++i) bytes.push_back(file.byte_at(i));
    return bytes;
  }
  Arena& arena() { return *arena_; }
  void fail_open(const std::string& path, int error) { open_errors_[path] = error; }

  // Completes reads that were parked, oldest first, on the calling thread. Returns how many.
  size_t run_parked() {
    std::vector<Callback<void()>> parked;
    {
      MutexLock lock(&mutex_);
      parked.swap(parked_);
    }
    for (Callback<void()>& read : parked) read();
    return parked.size();
  }
  size_t parked() {
    MutexLock lock(&mutex_);
    return parked_.size();
  }

  Result<OpenedPath> try_open_path(const Caller& caller, std::string_view path) override {
    if (blocking_opens) return fail(EAGAIN);
    return open_path(caller, path);
  }
  Result<OpenedPath> open_path(const Caller&, std::string_view path) override {
    if (blocking_opens && before_blocking_open) before_blocking_open();
    const auto error = open_errors_.find(std::string(path));
    if (error != open_errors_.end()) return fail(error->second);
    OpenedPath opened;
    const std::string_view bare = path.substr(0, path.ends_with('/') ? path.size() - 1 : path.size());
    if (path.empty() || directories_.contains(std::string(bare))) {
      opened.attributes.st_mode = S_IFDIR | 0755;
      return opened;
    }
    const auto found = files_.find(path);
    if (found == files_.end()) return fail(ENOENT);
    opened.attributes.st_mode = S_IFREG | 0644;
    opened.file = std::make_unique<File>(this, found->second.get());
    return opened;
  }
  void add_directory(const std::string& path) { directories_[path] = true; }
  // So many files "0000001" of as many bytes, below a directory of this path.
  void add_many(const std::string& path, uint64_t count) {
    add_directory(path);
    listing_sizes_[path] = count;
  }
  Result<std::unique_ptr<PathListing>> list_path(const Caller&, std::string_view path) override {
    const auto error = list_errors.find(std::string(path));
    if (error != list_errors.end()) return fail(error->second);
    return std::make_unique<Entries>(this, std::string(path));
  }
  std::map<std::string, int> list_errors;   // set before the server starts, as all below
  std::atomic<uint64_t> listed_entries{0};  // of add_many, so far
  std::atomic<uint64_t> listing_fails_after{UINT64_MAX};

  std::atomic<bool> blocking_opens{false};
  std::function<void()> before_blocking_open;  // set before the server starts
  std::atomic<int> open_files{0};
  std::atomic<uint64_t> reads{0};

 protected:
  class Data : public FileData, public std::enable_shared_from_this<Data> {
   public:
    Data(FakeStore* store, FakeFile* file) : store_(store), file_(file) {}
    class Watch final : public ChangeWatch {
     public:
      explicit Watch(const FakeFile* file) : file_(file), generation_(file->generation) {}
      bool touched(const ByteRange&) const override { return file_->generation != generation_; }

     private:
      const FakeFile* file_;
      const uint32_t generation_;
    };
    std::unique_ptr<ChangeWatch> watch() override { return std::make_unique<Watch>(file_); }
    uint64_t size() const override { return version().stamp.size; }
    FileVersion version() const override {
      FileVersion version;
      version.trustworthy = file_->trustworthy;
      version.stamp.ino = 7;
      version.stamp.size = file_->size;
      version.stamp.mtime_ns = file_->mtime_ns;
      version.stamp.ctime_ns = file_->mtime_ns;
      return version;
    }
    uint64_t read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
      ++store_->reads;
      if (!file_->park_reads) {
        done(slice(offset, length));
        return 0;
      }
      MutexLock lock(&store_->mutex_);
      store_->parked_.push_back([self = shared_from_this(), offset, length, done = std::move(done)]() mutable {
        done(self->slice(offset, length));
      });
      return 0;
    }
    std::optional<FileSlice> read_resident(uint64_t, uint64_t) override { return std::nullopt; }

    Result<bool> open(int, Access) override { return false; }
    bool open_unasked(bool) override { return false; }
    bool open_cached(const Stamp*) override { return false; }
    void close(bool) override {}
    Result<bool> revalidate() override { return false; }
    void prefetch(PageRange) override {}
    LeftStreams& left_streams() override { return left_streams_; }
    void write(uint64_t, std::string_view, const WriteOptions&, Callback<void(Result<size_t>)> done) override {
      done(fail(EROFS));
    }
    void write(std::unique_ptr<PreparedWrite>, SetIdBits, Callback<void(Result<size_t>)> done) override {
      done(fail(EROFS));
    }
    Result<void> truncate(uint64_t, SetIdBits) override { return fail(EROFS); }
    Result<void> allocate(const Allocation&) override { return fail(EROFS); }
    Result<size_t> copy_from(FileData&, const CopiedRange&) override { return fail(EROFS); }
    Result<uint64_t> seek(uint64_t, int) override { return fail(EINVAL); }
    Result<void> change_attributes(Callback<Result<void>()>, int, SetsMtime) override { return fail(EROFS); }
    WriteErrors::Told known_write_errors() const override { return {}; }
    Result<void> fsync(bool, WriteErrors::Told*) override { return {}; }
    Result<void> flush(WriteErrors::Told*) override { return {}; }
    void note_write_error(int) override {}
    void sync_unsynced() override {}
    int untold_write_error() const override { return 0; }
    Stamp backing_stamp() const override { return version().stamp; }
    void show(struct ::statx*) const override {}
    Result<void> write_back() override { return {}; }
    Result<void> sync_written() override { return {}; }
    uint64_t written_count() const override { return 0; }
    void synced(uint64_t) override {}
    bool is_dirty() const override { return false; }
    std::optional<std::chrono::nanoseconds> dirty_since() const override { return std::nullopt; }
    void removed() override {}
    bool writing_fails() const override { return false; }
    uint64_t drop_dirty() override { return 0; }
    std::vector<PageRange> used_pages() const override { return {}; }
    void warm(uint64_t, uint64_t, Callback<void(Result<uint64_t>)> done) override { done(0); }
    Result<void> pin() override { return {}; }
    void unpin() override {}
    bool is_pinned() const override { return false; }
    uint64_t evict() override { return 0; }
    std::optional<uint64_t> disk_position() const override { return std::nullopt; }
    uint64_t cached_blocks() const override { return 0; }
    bool is_open() const override { return true; }
    void tidy() override {}
    bool needs_tidy() const override { return false; }
    void drop_idle() override {}

   protected:
    FakeStore* const store_;
    FakeFile* const file_;

   private:
    Result<FileSlice> slice(uint64_t offset, uint64_t length) {
      if (file_->read_error != 0 && file_->read_errors_max > 0) {
        --file_->read_errors_max;
        return fail(file_->read_error);
      }
      const uint64_t size = std::min(file_->size, file_->shrunk_to);
      FileSlice slice;
      if (offset >= size) return slice;
      slice.length = std::min(length, size - offset);
      slice.skip = offset % kPageSize;
      slice.pages = PageRefs(store_->arena_.get());
      reference(pages_of(offset, slice.length), slice.pages);
      return slice;
    }
    void reference(PageRange wanted, PageRefs& pages) {
      uint64_t page = 0;
      for (const FrameRun& run : file_->pages.runs()) {
        const uint64_t first = std::max(page, wanted.first);
        const uint64_t end = std::min(page + run.count, wanted.end());
        if (first < end) {
          const FrameRun part{run.first + static_cast<FrameNumber>(first - page), static_cast<uint32_t>(end - first)};
          store_->arena_->reference(part);
          pages.append(part);
        }
        page += run.count;
      }
    }

    LeftStreams left_streams_;
  };

 private:
  // Files and directories below a path, and those of add_many.
  class Entries final : public PathListing {
   public:
    Entries(FakeStore* store, std::string path) : store_(store) {
      for (const auto& [name, file] : store->files_)
        if (is_child(path, name))
          found_.push_back({name.substr(path.size()), false, file->size, file->mtime_ns / 1'000'000'000});
      for (const auto& [name, yes] : store->directories_)
        if (is_child(path, name)) found_.push_back({name.substr(path.size()), true, 4096, 1});
      if (path.ends_with('/')) path.pop_back();
      if (store->listing_sizes_.contains(path)) many_ = store->listing_sizes_.at(path);
    }
    Result<bool> read(size_t entries_max, std::vector<ListedEntry>& entries) override {
      for (; entries_max > 0 && !found_.empty(); --entries_max) {
        entries.push_back(found_.back());
        found_.pop_back();
      }
      for (; entries_max > 0 && next_ < many_; --entries_max, ++next_) {
        if (next_ >= store_->listing_fails_after) return fail(EIO);
        std::string name = std::to_string(next_);
        entries.push_back({std::string(7 - name.size(), '0') + name, false, next_, static_cast<int64_t>(next_)});
        ++store_->listed_entries;
      }
      return !found_.empty() || next_ < many_;
    }

   private:
    static bool is_child(std::string_view path, std::string_view name) {
      return name.size() > path.size() && name.starts_with(path) && name.find('/', path.size()) == name.npos;
    }
    FakeStore* const store_;
    std::vector<ListedEntry> found_;
    uint64_t many_ = 0;
    uint64_t next_ = 0;
  };

  class File final : public OpenFile {
   public:
    File(FakeStore* store, FakeFile* file) : store_(store), data_(std::make_shared<Data>(store, file)) {
      ++store->open_files;
    }
    ~File() override { --store_->open_files; }
    InodeNumber inode() const override { return 7; }
    int flags() const override { return 0; }
    FileData& data() override { return *data_; }
    std::shared_ptr<FileData> shared_data() override { return data_; }
    Result<void> fsync(bool) override { return {}; }
    Result<void> flush() override { return {}; }
    void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) override {
      data_->read(offset, length, std::move(done));
    }

   private:
    FakeStore* const store_;
    const std::shared_ptr<Data> data_;
  };

 public:
  Result<Entry> lookup(InodeNumber, std::string_view) override { return fail(ENOSYS); }
  Result<void> confirm_name(InodeNumber) override { return fail(ENOSYS); }
  Result<std::unique_ptr<OpenFile>> open_named(const Caller&, InodeNumber, int) override { return fail(ENOSYS); }
  void forget(InodeNumber, uint64_t) override {}
  Result<Attributes> getattr(InodeNumber) override { return fail(ENOSYS); }
  Result<Attributes> setattr(const Caller&, InodeNumber, const SetAttributes&) override { return fail(ENOSYS); }
  Result<void> access(const Caller&, InodeNumber, int) override { return fail(ENOSYS); }
  Result<std::string> readlink(InodeNumber) override { return fail(ENOSYS); }
  Result<Entry> mknod(const Caller&, InodeNumber, std::string_view, mode_t, dev_t) override { return fail(ENOSYS); }
  Result<Entry> mkdir(const Caller&, InodeNumber, std::string_view, mode_t) override { return fail(ENOSYS); }
  Result<Entry> symlink(const Caller&, InodeNumber, std::string_view, std::string_view) override {
    return fail(ENOSYS);
  }
  Result<Entry> link(const Caller&, InodeNumber, InodeNumber, std::string_view) override { return fail(ENOSYS); }
  Result<void> unlink(const Caller&, InodeNumber, std::string_view) override { return fail(ENOSYS); }
  Result<void> rmdir(const Caller&, InodeNumber, std::string_view) override { return fail(ENOSYS); }
  Result<void> rename(const Caller&, InodeNumber, std::string_view, InodeNumber, std::string_view, unsigned) override {
    return fail(ENOSYS);
  }
  Result<std::unique_ptr<OpenFile>> open_file(const Caller&, InodeNumber, int) override { return fail(ENOSYS); }
  Result<Created> create(const Caller&, InodeNumber, std::string_view, mode_t, int) override { return fail(ENOSYS); }
  Result<std::unique_ptr<OpenDirectory>> open_directory(const Caller&, InodeNumber) override { return fail(ENOSYS); }
  std::unique_ptr<PreparedWrite> prepare_write(uint64_t offset, uint64_t length) override {
    return std::make_unique<PreparedWrite>(nullptr, offset, length);
  }
  std::vector<CachedContent> cached_content() override { return {}; }
  Result<std::unique_ptr<OpenFile>> open_content(const CachedContent&) override { return fail(ENOSYS); }
  Result<struct statvfs> statfs(InodeNumber) override { return fail(ENOSYS); }
  Result<std::string> getxattr(InodeNumber, const char*) override { return fail(ENOSYS); }
  Result<std::string> listxattr(InodeNumber) override { return fail(ENOSYS); }
  Result<void> setxattr(const Caller&, InodeNumber, const char*, std::string_view, int) override {
    return fail(ENOSYS);
  }
  Result<void> removexattr(const Caller&, InodeNumber, const char*) override { return fail(ENOSYS); }
  Result<std::string> inode_flags(InodeNumber, InodeFlagsForm) override { return fail(ENOSYS); }
  Result<void> set_inode_flags(const Caller&, InodeNumber, InodeFlagsForm, std::string_view) override {
    return fail(ENOSYS);
  }
  void on_outside_change(std::function<void(InodeNumber)>) override {}
  void sync_open_files() override {}
  void finish_delayed() override {}
  uint64_t drop_dirty() override { return 0; }
  Result<struct ::statx> statx(InodeNumber) override { return fail(ENOSYS); }
  Result<Created> create_nameless(const Caller&, InodeNumber, mode_t, int) override { return fail(ENOSYS); }
  std::vector<UnwrittenFile> finish() override { return {}; }
  void drop_metadata() override {}
  void on_outside_name(std::function<void(InodeNumber, const std::string&)>) override {}
  Result<std::string> persistent_handle(InodeNumber) override { return fail(ENOSYS); }
  Result<Entry> find_persistent(const std::string&) override { return fail(ENOSYS); }
  std::optional<Attributes> known_getattr(InodeNumber) override { return std::nullopt; }
  bool is_known_to_permit(const Caller&, InodeNumber, int) override { return false; }
  SeenInode remember(InodeNumber number) override { return {number, 0}; }
  bool unchanged(std::span<const SeenInode>) override { return false; }
  std::chrono::nanoseconds lifetime() const override { return {}; }
  void observe(std::span<const InodeNumber>, const std::function<void()>& change, std::span<Observed>) override {
    change();
  }
  Result<void> sync(InodeNumber) override { return fail(ENOSYS); }
  Result<void> sync_file_system() override { return fail(ENOSYS); }
  void announce(std::vector<Announcement>, Callback<void()> done) override { done(); }
  void on_announcement(AnnouncementListener) override {}
  StoreStats stats() const override { return {}; }

 private:
  const std::unique_ptr<Arena> arena_;
  std::map<std::string, std::unique_ptr<FakeFile>, std::less<>> files_;
  std::map<std::string, int> open_errors_;
  std::map<std::string, bool> directories_;
  std::map<std::string, uint64_t> listing_sizes_;
  Mutex mutex_;
  std::vector<Callback<void()>> parked_ GUARDED_BY(mutex_);
};

}  // namespace sluice

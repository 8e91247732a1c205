// NfsFileTable is what the server remembers of the files that clients named last: a handle names a file, but there is
// no open and no close in NFS, and asking the backing by handle each time would be slow. Bounded; what was used least
// recently goes.
//
// Files are opened for reading and for writing as the gateway, once for all clients: who may do what is asked with each
// call. They stay open while calls come. What was written to one is fsynced before it is closed, if nobody asked for
// that: so whatever the backing loses is heard of here, and `on_lost` can tell the clients. Until it has, the file
// stays in the table, so that no fsync can succeed that knows nothing of the loss.
//
// Cost: some 600 bytes per file with what the store knows of it. Thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/clock.h"
#include "cache/mutex.h"
#include "fs/store/backing_health.h"
#include "fs/store/store.h"

namespace sluice {

class NfsFileTable;

// One file by its handle. Holds one reference of the store.
class NfsFile {
 public:
  NfsFile(Store* store, std::string handle, InodeNumber number)
      : store_(*store), handle_(std::move(handle)), number_(number) {}
  ~NfsFile() { store_.forget(number_, 1); }
  NfsFile(const NfsFile&) = delete;
  NfsFile& operator=(const NfsFile&) = delete;

  const std::string& handle() const { return handle_; }
  InodeNumber number() const { return number_; }

 private:
  friend class NfsFileTable;
  Store& store_;
  const std::string handle_;
  const InodeNumber number_;
};
using NfsFileRef = std::shared_ptr<NfsFile>;

struct NfsFileTableOptions {
  size_t files_max = 65536;
  size_t open_max = 1024;
  std::chrono::nanoseconds open_idle = std::chrono::seconds(5);  // after the last call, then a file is closed
  const Clock* clock = &system_clock();
  BackingHealth* health = nullptr;  // watches what is closed by nobody's call. Outlives the table
  std::function<void()> on_lost;    // something that was written is not on the disk. Any thread
};

class NfsFileTable {
 public:
  // `store` outlives the table.
  NfsFileTable(Store* store, NfsFileTableOptions options) : store_(*store), options_(std::move(options)) {}
  ~NfsFileTable() { clear(); }

  // Null: not here.
  NfsFileRef find(std::string_view handle);
  // Takes over one reference of the number.
  NfsFileRef insert(std::string handle, InodeNumber number);
  void erase(const NfsFileRef& file);

  enum class Use : uint8_t { reading, writing };
  // Of a number that somebody holds a reference of. Null: not open.
  std::shared_ptr<OpenFile> opened(InodeNumber number, Use use);
  // Blocks. Errors: those of Store::open_file as the gateway.
  Result<std::shared_ptr<OpenFile>> open(InodeNumber number, Use use);
  // As if `open` had made it; returns what is open now, which may be another.
  std::shared_ptr<OpenFile> keep(InodeNumber number, Use use, std::shared_ptr<OpenFile> fresh);

  // A change of a file's content, which stays open meanwhile. Ends before the table.
  class Change {
   public:
    Change(Change&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), number_(other.number_), file_(std::move(other.file_)) {}
    Change& operator=(Change&&) = delete;
    ~Change() {
      if (table_ != nullptr) table_->end_change(number_);
    }
    FileData& data() const { return file_->data(); }

   private:
    friend class NfsFileTable;
    Change(NfsFileTable* table, InodeNumber number, std::shared_ptr<OpenFile> file)
        : table_(table), number_(number), file_(std::move(file)) {}
    NfsFileTable* table_;
    InodeNumber number_;
    std::shared_ptr<OpenFile> file_;
  };
  // As `open`, for writing.
  Result<Change> begin_change(InodeNumber number);
  // fsync(2) of what was written. Calls `on_lost` before it returns an error, and before anybody's `sync` can succeed
  // after it: whoever finds none afterwards has heard of it.
  Result<void> sync(InodeNumber number, bool data_only);
  // These may block, too. The file lost a name: if that was its last, its space must come back.
  void close(InodeNumber number);
  // Closes what was not used for a while.
  void close_idle();
  bool has_idle() const;
  void clear();

  size_t size() const;
  size_t open_count() const;

 private:
  using Lru = std::list<NfsFileRef>;  // used last: first
  struct Opened {
    std::array<std::shared_ptr<OpenFile>, 2> uses;
    std::chrono::nanoseconds used_at{};
    std::list<InodeNumber>::iterator place;
    WriteErrors::Told told{};  // of the one for writing
    uint64_t changes = 0;      // begun, and ended
    uint64_t synced = 0;       // ... before an fsync that succeeded, or whose failure was told
    uint32_t users = 0;        // who are in the middle of something: it is not closed
    const OpenFile* writer() const { return uses[static_cast<size_t>(Use::writing)].get(); }
  };
  // What an fsync of one file needs to know from before.
  struct SyncBegin {
    InodeNumber number = 0;
    std::shared_ptr<OpenFile> file;
    WriteErrors::Told told{};
    uint64_t changes = 0;
  };
  static SyncBegin begin_sync(InodeNumber number, Opened& opened);
  Result<void> finish_sync(SyncBegin begun, bool data_only);
  void end_change(InodeNumber number);
  void note_use(Opened& opened) REQUIRES(open_mutex_);
  std::vector<InodeNumber> idle_files() const;
  void close_unasked(std::span<const InodeNumber> numbers);
  Opened take_out(InodeNumber number) REQUIRES(open_mutex_);

  Store& store_;
  const NfsFileTableOptions options_;
  mutable Mutex mutex_;  // leaf
  Lru lru_ GUARDED_BY(mutex_);
  std::unordered_map<std::string_view, Lru::iterator> by_handle_ GUARDED_BY(mutex_);
  mutable Mutex open_mutex_;  // leaf
  std::unordered_map<InodeNumber, Opened> open_ GUARDED_BY(open_mutex_);
  std::list<InodeNumber> open_lru_ GUARDED_BY(open_mutex_);  // used last: first
};

}  // namespace sluice

// NfsFileTable is what the server remembers of the files that clients named last: a handle names a file, but there is
// no open and no close in NFS, and asking the backing by handle each time would be slow. Bounded; what was used least
// recently goes.
//
// Files are opened for reading and for writing as the gateway, once for all clients: who may do what is asked with each
// call. They stay open while calls come. What was written to one is fsynced before it is closed, if nobody asked for
// that: so whatever the backing loses is heard of here, and `on_lost` can tell the clients.
//
// Cost: some 600 bytes per file with what the store knows of it. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/clock.h"
#include "cache/mutex.h"
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
  std::function<void()> on_lost;  // something that was written is not on the disk. Any thread
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
  // Null: not open.
  std::shared_ptr<OpenFile> opened(const NfsFile& file, Use use);
  // Blocks. Errors: those of Store::open_file as the gateway.
  Result<std::shared_ptr<OpenFile>> open(const NfsFile& file, Use use);
  // Of a file open for writing: it is to be written to.
  void note_write(const NfsFile& file);
  // fsync(2) of what was written. Calls `on_lost` before it returns an error, so that whoever finds none afterwards has
  // heard of it.
  Result<void> sync(const NfsFile& file, bool data_only);
  // These may block, too. The file lost a name, perhaps its last: its space must come back.
  void close(InodeNumber number);
  // Closes what was not used for a while.
  void close_idle();
  void clear();

  size_t size() const;
  size_t open_count() const;

 private:
  using Lru = std::list<NfsFileRef>;  // used last: first
  struct Opened {
    std::shared_ptr<OpenFile> uses[2];
    std::chrono::nanoseconds used_at{};
    std::list<InodeNumber>::iterator place;
    WriteErrors::Told told{};  // of the one for writing
    uint64_t writes = 0;       // begun,
    uint64_t synced = 0;       // ... before an fsync that succeeded
  };
  // To be closed when no lock is held.
  using Closing = std::vector<Opened>;
  void take_out(InodeNumber number, Closing& closing) REQUIRES(open_mutex_);
  void close_all(Closing closing);

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

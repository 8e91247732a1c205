// PlaceTable gives files of a backing without file handles numbers that outlive the process: in a database it keeps for
// each number where its file was last seen, and by what it can be told from another one in the same place.
//
// SQLite, because it keeps millions of rows in order through crashes. What was added is there after the process was
// killed, and after a power cut once `sync` has returned. Thread-safe: calls wait for each other, and for the disk
// where the database is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cache/mutex.h"
#include "cache/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluice {

class PlaceTable {
 public:
  using Id = uint64_t;
  static constexpr Id kRoot = 0;  // of the directory that all places are below
  struct Place {
    Id parent = kRoot;
    std::string name;
    uint64_t ino = 0;
    uint64_t incarnation = 0;  // of FileIdentity; 0: a file is also told by its place
    bool operator==(const Place&) const = default;
  };

  // Made when it is not there. Errors: EIO, it cannot be opened, or is none of ours; logged.
  static Result<std::unique_ptr<PlaceTable>> open(const std::string& path);
  ~PlaceTable();
  PlaceTable(const PlaceTable&) = delete;
  PlaceTable& operator=(const PlaceTable&) = delete;

  // The file's number, a new one for a file that has none. Remembers where it is now. Errors: EIO, ENOSPC.
  Result<Id> id_of(const Place& place);
  // The file of this number is there now. Errors: EIO, ENOSPC.
  Result<void> move(Id id, const Place& place);
  // Errors: ESTALE, nothing has this number (any more).
  Result<Place> find(Id id);
  // The file of this identity is gone, and so are its numbers.
  void erase(uint64_t ino, uint64_t incarnation);
  // Once in a while.
  void sync();

 private:
  class Statement;
  PlaceTable(sqlite3* database, std::string path) : database_(database), path_(std::move(path)) {}

  Result<void> prepare();
  Result<void> put(Id id, const Place& place) REQUIRES(mutex_);
  tl::unexpected<Error> failed(const char* what) const REQUIRES(mutex_);

  Mutex mutex_;  // leaf; held across the database's reads and writes
  sqlite3* const database_;
  const std::string path_;
  sqlite3_stmt* find_key_ GUARDED_BY(mutex_) = nullptr;
  sqlite3_stmt* find_id_ GUARDED_BY(mutex_) = nullptr;
  sqlite3_stmt* insert_ GUARDED_BY(mutex_) = nullptr;
  sqlite3_stmt* erase_ GUARDED_BY(mutex_) = nullptr;
  bool is_dirty_ GUARDED_BY(mutex_) = false;
};

}  // namespace sluice

#include "fs/store/place_table.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "cache/log.h"
#include "cache/unique_fd.h"

namespace sluice {
namespace {

// What tells a file from all others, as a key. Without an incarnation the place has to do.
std::string key_of(const PlaceTable::Place& place) {
  uint64_t words[3] = {place.ino, place.incarnation, place.parent};
  const bool by_place = place.incarnation == 0;
  std::string key(reinterpret_cast<const char*>(words), by_place ? sizeof words : 2 * sizeof words[0]);
  if (by_place) key += place.name;
  return key;
}

// Random, so that a table that was lost and made anew does not give numbers that clients know of other files.
PlaceTable::Id random_id() {
  uint64_t id = 0;
  while (id == PlaceTable::kRoot) {
    if (::getrandom(&id, sizeof id, 0) != sizeof id) continue;
    id >>= 1;  // SQLite's integers have a sign
  }
  return id;
}

constexpr const char* kSchema =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS file (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, parent INTEGER NOT NULL,"
    " name BLOB NOT NULL, ino INTEGER NOT NULL, incarnation INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS file_ino ON file (ino);";

}  // namespace

// One use of a prepared statement.
class PlaceTable::Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  ~Statement() {
    ::sqlite3_reset(statement_);
    ::sqlite3_clear_bindings(statement_);
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(uint64_t value) {
    ::sqlite3_bind_int64(statement_, ++bound_, static_cast<sqlite3_int64>(value));
    return *this;
  }
  Statement& bind(const std::string& bytes) {
    ::sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
    return *this;
  }
  int step() { return ::sqlite3_step(statement_); }
  uint64_t number(int column) const { return static_cast<uint64_t>(::sqlite3_column_int64(statement_, column)); }
  std::string bytes(int column) const {
    const auto* data = static_cast<const char*>(::sqlite3_column_blob(statement_, column));
    return {data, static_cast<size_t>(::sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* const statement_;
  int bound_ = 0;
};

Result<std::unique_ptr<PlaceTable>> PlaceTable::open(const std::string& path) {
  // Names of files are not for everybody, and SQLite would let all read. Its other files get the mode of this one.
  static_cast<void>(UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)));
  sqlite3* database = nullptr;
  const int opened = ::sqlite3_open_v2(
      path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  std::unique_ptr<PlaceTable> table(new PlaceTable(database, path));
  if (opened != SQLITE_OK) {
    MutexLock lock(&table->mutex_);
    return table->failed("opening it");
  }
  TRY(table->prepare());
  return table;
}

Result<void> PlaceTable::prepare() {
  MutexLock lock(&mutex_);
  ::sqlite3_busy_timeout(database_, 1000);  // another gateway of the same source
  if (::sqlite3_exec(database_, kSchema, nullptr, nullptr, nullptr) != SQLITE_OK) return failed("its tables");
  const auto make = [&](const char* text, sqlite3_stmt** statement) {
    return ::sqlite3_prepare_v3(database_, text, -1, SQLITE_PREPARE_PERSISTENT, statement, nullptr) == SQLITE_OK;
  };
  const bool made =
      make("SELECT id, parent, name FROM file WHERE key = ?", &find_key_) &&
      make("SELECT parent, name, ino, incarnation FROM file WHERE id = ?", &find_id_) &&
      make("INSERT OR REPLACE INTO file (id, key, parent, name, ino, incarnation) VALUES (?, ?, ?, ?, ?, ?)",
           &insert_) &&
      make("DELETE FROM file WHERE ino = ? AND incarnation = ?", &erase_);
  if (!made) return failed("its tables");
  return {};
}

PlaceTable::~PlaceTable() {
  sync();
  MutexLock lock(&mutex_);
  for (sqlite3_stmt* statement : {find_key_, find_id_, insert_, erase_}) ::sqlite3_finalize(statement);
  ::sqlite3_close(database_);
}

tl::unexpected<Error> PlaceTable::failed(const char* what) const {
  log(LogLevel::error, "'{}', the table of NFS handles: {}: {}", path_, what, ::sqlite3_errmsg(database_));
  return fail(::sqlite3_errcode(database_) == SQLITE_FULL ? ENOSPC : EIO);
}

Result<PlaceTable::Id> PlaceTable::id_of(const Place& place) {
  const std::string key = key_of(place);
  MutexLock lock(&mutex_);
  Id id = kRoot;
  {
    Statement find(find_key_);
    switch (find.bind(key).step()) {
      case SQLITE_ROW:
        id = find.number(0);
        if (find.number(1) == place.parent && find.bytes(2) == place.name) return id;
        break;
      case SQLITE_DONE: id = random_id(); break;
      default: return failed("looking for a file");
    }
  }
  TRY(put(id, place));
  return id;
}

Result<void> PlaceTable::move(Id id, const Place& place) {
  MutexLock lock(&mutex_);
  return put(id, place);
}

// Whatever else had this number or this key is no more.
Result<void> PlaceTable::put(Id id, const Place& place) {
  const std::string key = key_of(place);
  Statement insert(insert_);
  insert.bind(id).bind(key).bind(place.parent).bind(place.name).bind(place.ino).bind(place.incarnation);
  if (insert.step() != SQLITE_DONE) return failed("adding a file");
  is_dirty_ = true;
  return {};
}

Result<PlaceTable::Place> PlaceTable::find(Id id) {
  MutexLock lock(&mutex_);
  Statement find(find_id_);
  switch (find.bind(id).step()) {
    case SQLITE_ROW:
      return Place{
          .parent = find.number(0), .name = find.bytes(1), .ino = find.number(2), .incarnation = find.number(3)};
    case SQLITE_DONE: return fail(ESTALE);
    default: return failed("looking for a number");
  }
}

void PlaceTable::erase(uint64_t ino, uint64_t incarnation) {
  MutexLock lock(&mutex_);
  Statement erase(erase_);
  if (erase.bind(ino).bind(incarnation).step() != SQLITE_DONE) failed("dropping a file");
  is_dirty_ = true;
}

// A checkpoint writes the log's pages to the disk before it copies them.
void PlaceTable::sync() {
  MutexLock lock(&mutex_);
  if (!is_dirty_) return;
  is_dirty_ = false;
  const int outcome = ::sqlite3_wal_checkpoint_v2(database_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (outcome != SQLITE_OK && outcome != SQLITE_BUSY) failed("writing it to the disk");
}

}  // namespace sluice

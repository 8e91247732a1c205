// RocksDB's block caches, with their own defaults for shards and metadata. Versions 7 (Debian 12) and later, whose
// insert takes a helper in place of a deleter.
#include "tools/bench/contender.h"

#ifdef SLUICE_HAS_ROCKSDB
#include <rocksdb/cache.h>
#if __has_include(<rocksdb/advanced_cache.h>)
#include <rocksdb/advanced_cache.h>
#define SLUICE_ROCKSDB_HAS_HELPERS
#endif

#include <array>

#include "cache/block.h"
#endif

namespace sluice {

#ifdef SLUICE_HAS_ROCKSDB
namespace {

void insert(rocksdb::Cache& cache, const rocksdb::Slice& key, char* page) {
#ifdef SLUICE_ROCKSDB_HAS_HELPERS
  static const rocksdb::Cache::CacheItemHelper helper(
      rocksdb::CacheEntryRole::kDataBlock,
      [](rocksdb::Cache::ObjectPtr object, rocksdb::MemoryAllocator*) { delete[] static_cast<char*>(object); });
  const rocksdb::Status status = cache.Insert(key, page, &helper, kPageSize);
#else
  const rocksdb::Status status = cache.Insert(
      key, page, kPageSize, [](const rocksdb::Slice&, void* object) { delete[] static_cast<char*>(object); });
#endif
  status.PermitUncheckedError();  // without a strict limit it cannot fail
}

class RocksContender final : public Contender {
 public:
  explicit RocksContender(std::shared_ptr<rocksdb::Cache> cache) : cache_(std::move(cache)) {}

  bool read(uint64_t page) override {
    const uint64_t words[2] = {1, page};
    const rocksdb::Slice key(reinterpret_cast<const char*>(words), sizeof words);
    if (rocksdb::Cache::Handle* handle = cache_->Lookup(key)) {
      cache_->Release(handle);
      return true;
    }
    insert(*cache_, key, new char[kPageSize]);
    return false;
  }

 private:
  const std::shared_ptr<rocksdb::Cache> cache_;
};

std::unique_ptr<Contender> make_lru(uint64_t budget_bytes) {
  return std::make_unique<RocksContender>(rocksdb::NewLRUCache(budget_bytes));
}

std::unique_ptr<Contender> make_clock(uint64_t budget_bytes) {
  return std::make_unique<RocksContender>(rocksdb::HyperClockCacheOptions(budget_bytes, kPageSize).MakeSharedCache());
}

constexpr std::array kKinds = {ContenderKind{"rocksdb-lru", make_lru}, ContenderKind{"rocksdb-clock", make_clock}};

}  // namespace

std::span<const ContenderKind> rocksdb_contenders() {
  return kKinds;
}
#else
std::span<const ContenderKind> rocksdb_contenders() {
  return {};
}
#endif

}  // namespace sluice

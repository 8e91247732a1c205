// BlockCache is the public face of the cache: it stands in for the PageCache, with a budget, a policy and counters of
// its own. It knows pages of numbered files: no names, no sockets, no FUSE.
//
//   read        pages present are referenced at once; missing ones become one vectored read per gap (at most 1 MiB),
//   whoever asks
//               meanwhile joins that read ("single flight") and shares its result or its error.
//   change      a writer brackets the backing's change with begin_change and publish (or drop): reads in flight over
//               the range go to those who asked, but no longer into the cache.
//   generation  part of the key. When the store notices a foreign change it moves the generation: old blocks
//               are never found again and are dropped.
//
// Thread-safe. Locks, outer to inner: resize -> replacement (policy, free block ids) -> shard (index, flights) -> file
// list / arena. No lock is held across the disk or a callback, but for that of a resize, which readers do not take.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/arena.h"
#include "cache/block.h"
#include "cache/block_source.h"
#include "cache/callback.h"
#include "cache/checksum.h"
#include "cache/clock.h"
#include "cache/page_refs.h"
#include "cache/result.h"

namespace sluice {

class TraceRecorder;

struct BlockCacheOptions {
  uint64_t size_bytes = uint64_t{256} << 20;  // all of it: pages, guard pages, index, policy
  uint64_t size_max_bytes = 0;  // what it may grow to by `resize`; takes address space only. Less: size_bytes
  std::string policy = "s3fifo";
  // Streams through files of this size and more hold a small share. 0: none is large; no value: the cache's size.
  std::optional<uint64_t> large_file_bytes = 0;
  ReleaseProof proof = ReleaseProof::replace;
  const Clock* clock = &system_clock();
  TraceRecorder* recorder = nullptr;  // is told what the cache is asked for; outlives it
  ChecksumMode checksum = ChecksumMode::off;
};
inline constexpr uint64_t kCacheSizeMin = uint64_t{8} << 20;

struct CacheStats {
  uint64_t size_bytes = 0;      // the budget
  uint64_t size_max_bytes = 0;  // what it may be
  uint64_t resident_bytes = 0;  // valid pages
  uint64_t metadata_bytes = 0;  // reserved for index and policy inside the budget
  uint64_t pinned_bytes = 0;    // of them, those that are not evicted
  uint64_t pinned_max_bytes = 0;
  uint64_t blocks = 0;
  uint64_t hits = 0;       // pages found
  uint64_t misses = 0;     // pages read from the backing because somebody asked
  uint64_t evictions = 0;  // blocks
  uint64_t readahead_issued_bytes = 0;
  uint64_t readahead_used_bytes = 0;
  uint64_t readahead_wasted_bytes = 0;  // evicted or dropped before anybody asked
  uint64_t pages_verified = 0;          // whose checksum was compared
  uint64_t pages_bad = 0;               // of them, those whose bytes had changed by themselves
  ArenaStats arena;
};

// One file known to the cache, made by BlockCache::add_file. The store keeps it as long as the file is open or has
// blocks.
class CachedFile {
 public:
  virtual ~CachedFile() = default;
  virtual uint64_t number() const = 0;
  virtual uint64_t blocks() const = 0;  // in the index, of any generation
};

// What of a file to read. `size` is the file's size in bytes under `generation`: nothing is read past its last page,
// and the bytes of that page past the end read as zeros.
struct CacheRead {
  CachedFile* file = nullptr;  // kept alive by the caller until done
  uint32_t generation = 0;
  uint64_t size = 0;
  PageRange pages;  // within the file's size; at most kReadPagesMax
  IoClass io_class = IoClass::demand;
  std::shared_ptr<BlockSource> source;  // used only on a miss
};
inline constexpr uint64_t kReadPagesMax = 512;
// How many pages of a cache of `frames` are evicted at least when memory is needed.
constexpr uint64_t evicted_at_once(uint64_t frames) {
  return std::min<uint64_t>(kFramesPerSlab, frames / 256);
}
// How often a read starts over because pages went bad while it held them: more often the memory is of no use.
inline constexpr uint32_t kRepairsMax = 8;

class BlockCache {
 public:
  // Errors: EINVAL (unknown policy, size below kCacheSizeMin), ENOMEM.
  static Result<std::unique_ptr<BlockCache>> create(const BlockCacheOptions& options);
  virtual ~BlockCache() = default;

  virtual std::shared_ptr<CachedFile> add_file(uint64_t number) = 0;

  // All pages if all are present; counts hits only then. Does no I/O. A page that is found bad counts as absent, in
  // `read` as well; EIO when that happens more than kRepairsMax times.
  virtual std::optional<PageRefs> read_resident(const CacheRead& read) = 0;
  // `done` gets all pages of the range in order, or the first error: what the source said, ESTALE when it ended before
  // `size` (somebody truncated the file). Runs inside the call when everything is present, else on the source's thread.
  // Returns how many pages it asked the source for itself, before it returned.
  virtual uint64_t read(CacheRead read, Callback<void(Result<PageRefs>)> done) = 0;
  // Reads what is missing in the range into the cache; errors are dropped and tried again on demand.
  virtual void prefetch(CacheRead read) = 0;

  // Fresh pages for a writer to fill and publish; none when there is not memory for all.
  virtual PageRefs allocate(uint64_t pages) = 0;
  // A change of these pages begins: flights over the range are detached from the index. Call before the backing
  // changes.
  virtual void begin_change(CachedFile& file, PageRange range) = 0;
  // The change succeeded: `pages` (as many as the range) are the new content. Their bytes are not written again.
  virtual void publish(CachedFile& file, uint32_t generation, PageRange range, const PageRefs& pages) = 0;
  // The pages are no longer known (error, truncate, punch). A range that covers the file drops every generation's.
  // Returns how many were there.
  virtual uint64_t drop(CachedFile& file, uint32_t generation, PageRange range) = 0;
  // From now on what is read of this file goes to the policy like any other's, however large the file is, and so does
  // what there is of these pages; until `want_no_more` was called as often. Later streams through it hold their share.
  virtual void want(CachedFile& file, uint32_t generation, PageRange range) = 0;
  virtual void want_no_more(CachedFile& file) = 0;
  // From now on the file's pages are not evicted, those present and those that will be; `bytes` are promised it, that
  // is its size. Errors: ENOSPC when that would be more than half of the cache for all pinned files. What a pinned file
  // grows to beyond that half is kept like any other file's. Pinning again changes the promise.
  virtual Result<void> pin(CachedFile& file, uint64_t bytes) = 0;
  virtual void unpin(CachedFile& file) = 0;
  // Which pages of this generation are present and were asked for, in order.
  virtual std::vector<PageRange> used_pages(CachedFile& file, uint32_t generation) = 0;
  // Evicts everything that may be evicted.
  virtual void clear() = 0;

  // With checksums: looks at the next `blocks` places for a block, round and round, and drops pages whose bytes changed
  // by themselves. Returns how many places there are, 0 without checksums. A place takes some 3 us, no lock held for
  // long.
  virtual uint64_t scrub(uint64_t blocks) = 0;

  // The page, if present. Counts nothing, moves nothing.
  virtual PageRefs peek(CachedFile& file, uint32_t generation, uint64_t page) = 0;

  // Makes the cache larger, or smaller, while it serves. A smaller one evicts what is too much, moves the rest out of
  // the slabs that go, and is then within its budget but for pages that somebody holds: these go when they are let go,
  // by `finish_resize`. Errors: EINVAL (below kCacheSizeMin), ERANGE (above the largest), ENOSPC (pinned files are
  // promised more than half of it). Blocks for up to a second per GiB that goes. Any thread.
  virtual Result<void> resize(uint64_t size_bytes) = 0;
  // Returns how many bytes are still to go back to the system after a resize. Call it now and then until it says 0.
  virtual uint64_t finish_resize() = 0;

  // What streams through files of this size may hold, all of them together; UINT64_MAX: as much as anybody.
  virtual uint64_t streams_pages_max(uint64_t file_size) const = 0;

  virtual Arena& arena() = 0;
  virtual CacheStats stats() const = 0;
  virtual std::string_view policy_name() const = 0;
};

}  // namespace sluice

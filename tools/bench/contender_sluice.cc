// The cache that serves files, by the calls that the store makes for a read.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "cache/block_cache.h"
#include "cache/instant_source.h"
#include "tools/bench/contender.h"

namespace sluice {
namespace {

class SluiceContender : public Contender {
 public:
  explicit SluiceContender(std::unique_ptr<BlockCache> cache) : cache_(std::move(cache)) {}

  bool read(uint64_t page) override {
    CacheRead read;
    read.file = file_.get();
    read.generation = 1;
    read.size = UINT64_MAX;
    read.pages = {page_number(page), 1};
    if (const auto pages = cache_->read_resident(read)) return true;
    read.source = source_;
    cache_->read(std::move(read), [](const Result<PageRefs>&) {});
    return false;
  }

 protected:
  BlockCache& cache() { return *cache_; }

 private:
  // Each in a block of its own, as small files lie: neighbours would share an entry of the index, which the others
  // cannot.
  static uint64_t page_number(uint64_t page) { return page * kPagesPerBlock; }

  const std::unique_ptr<BlockCache> cache_;
  const std::shared_ptr<BlockSource> source_ = std::make_shared<InstantSource>();
  const std::shared_ptr<CachedFile> file_ = cache_->add_file(1);
};

class ResizingContender final : public SluiceContender {
 public:
  ResizingContender(std::unique_ptr<BlockCache> resized, uint64_t budget_bytes)
      : SluiceContender(std::move(resized)), thread_([this, budget_bytes] {
          for (bool whole = false; !stopping_; whole = !whole) {
            (void)cache().resize(whole ? budget_bytes : budget_bytes / 2);
            while (cache().finish_resize() > 0 && !stopping_) std::this_thread::yield();
          }
        }) {}
  ~ResizingContender() override {
    stopping_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

std::unique_ptr<BlockCache> make_cache(uint64_t budget_bytes) {
  auto cache = BlockCache::create({.size_bytes = budget_bytes});
  if (!cache) {
    std::fputs("sluice: no memory for the benchmark\n", stderr);
    std::exit(EXIT_FAILURE);
  }
  return std::move(*cache);
}

std::unique_ptr<Contender> make(uint64_t budget_bytes) {
  return std::make_unique<SluiceContender>(make_cache(budget_bytes));
}

}  // namespace

std::unique_ptr<Contender> make_resizing_sluice(uint64_t budget_bytes) {
  return std::make_unique<ResizingContender>(make_cache(budget_bytes), budget_bytes);
}

const ContenderKind kSluiceContender{"sluice", make};

}  // namespace sluice

// The cache that everybody writes first: a list in order of use, a hash table into it, one mutex around both. Pages are
// shared pointers, so a reader keeps its page when it is evicted. Its budget counts pages only: what list and table
// take comes on top.
#include <list>
#include <unordered_map>

#include "cache/block.h"
#include "cache/mutex.h"
#include "tools/bench/contender.h"

namespace sluice {
namespace {

struct PageKey {
  uint64_t file;
  uint64_t page;
  friend bool operator==(const PageKey&, const PageKey&) = default;
};

struct PageKeyHash {
  size_t operator()(const PageKey& key) const {
    return (key.file * 0x9e3779b97f4a7c15 + key.page) * 0xff51afd7ed558ccd;
  }
};

class ListLru final : public Contender {
 public:
  explicit ListLru(uint64_t budget_bytes) : pages_max_(budget_bytes / kPageSize) {}

  bool read(uint64_t page) override {
    const PageKey key{1, page};
    if (find(key)) return true;
    insert(key, std::make_shared<Page>());
    return false;
  }

 private:
  struct Page {
    Page() {}  // leaves the bytes alone
    char bytes[kPageSize];
  };
  using Held = std::shared_ptr<Page>;
  struct Entry {
    PageKey key;
    Held page;
  };

  Held find(const PageKey& key) {
    MutexLock lock(&mutex_);
    const auto found = table_.find(key);
    if (found == table_.end()) return nullptr;
    list_.splice(list_.begin(), list_, found->second);
    return found->second->page;
  }

  void insert(const PageKey& key, Held page) {
    MutexLock lock(&mutex_);
    list_.push_front({key, std::move(page)});
    const auto [place, is_new] = table_.try_emplace(key, list_.begin());
    if (!is_new) {  // another thread missed it as well
      list_.pop_front();
      return;
    }
    if (list_.size() <= pages_max_) return;
    table_.erase(list_.back().key);
    list_.pop_back();
  }

  const size_t pages_max_;
  Mutex mutex_;
  std::list<Entry> list_ GUARDED_BY(mutex_);
  std::unordered_map<PageKey, std::list<Entry>::iterator, PageKeyHash> table_ GUARDED_BY(mutex_);
};

std::unique_ptr<Contender> make(uint64_t budget_bytes) {
  return std::make_unique<ListLru>(budget_bytes);
}

}  // namespace

const ContenderKind kListLruContender{"list-lru", make};

}  // namespace sluice

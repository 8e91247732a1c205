#include "net/nfs/reply_cache.h"

#include <cstring>
#include <utility>

namespace sluice {

size_t ReplyCache::Hash::operator()(const Key& key) const {
  uint64_t address[2];
  std::memcpy(address, key.client.bytes.data(), sizeof address);
  uint64_t hash = key.call_hash;
  for (const uint64_t word : {address[0], address[1], uint64_t{key.xid} << 32 | key.procedure})
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return hash;
}

bool ReplyCache::begin(const Key& key, Send send) {
  std::string reply;
  Send dropped;  // with no lock held
  {
    MutexLock lock(&mutex_);
    const auto found = index_.find(key);
    const auto oldest = clock_.monotonic() - lifetime_;
    if (found == index_.end() || (found->second->reply && found->second->begun <= oldest)) {
      drop_old();
      items_.push_back({key, clock_.monotonic(), std::nullopt, {}});
      items_.back().senders.push_back(std::move(send));
      index_.emplace(key, std::prev(items_.end()));
      return true;
    }
    ++hits_;
    Item& item = *found->second;
    if (!item.reply) {
      // Who asked before may have lost its connection. Or it is another client of the same machine, with the same
      // number by chance, and waits.
      if (item.senders.size() == kSendersMax) {
        dropped = std::move(item.senders.front());
        item.senders.erase(item.senders.begin());
      }
      item.senders.push_back(std::move(send));
      return false;
    }
    reply = *item.reply;
  }
  send(std::move(reply));
  return false;
}

void ReplyCache::answered(const Key& key, std::string reply, bool keep) {
  std::vector<Send> senders;
  {
    MutexLock lock(&mutex_);
    const auto found = index_.find(key);
    Item& item = *found->second;
    senders = std::exchange(item.senders, {});
    if (keep) {
      item.reply = reply;
    } else {
      items_.erase(found->second);
      index_.erase(found);
    }
  }
  for (Send& send : senders) send(reply);
}

// Those under way stay: their number is bounded by the calls that connections may have.
void ReplyCache::drop_old() {
  const auto since = clock_.monotonic() - lifetime_;
  for (auto item = items_.begin(); item != items_.end();) {
    if (index_.size() < replies_max_ && item->begun > since) return;
    if (!item->reply) {
      ++item;
      continue;
    }
    index_.erase(item->key);
    item = items_.erase(item);
  }
}

uint64_t ReplyCache::hits() const {
  MutexLock lock(&mutex_);
  return hits_;
}

}  // namespace sluice

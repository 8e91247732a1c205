// ReplyCache answers a call that came twice as it was answered the first time, where running it again would do harm: a
// client that heard nothing sends it once more, often over a new connection, and must not learn that the file it just
// removed does not exist. (Juszczak, "Improving the performance and correctness of an NFS server", USENIX 1989.)
//
// A call is known by the client's address, without the port, its xid, procedure, and a hash of credential and
// arguments. Bounded in number; the oldest goes. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/callback.h"
#include "cache/clock.h"
#include "cache/mutex.h"
#include "net/peer_address.h"

namespace sluice {

class ReplyCache {
 public:
  struct Key {
    PeerAddress client;
    uint32_t xid = 0;
    uint32_t procedure = 0;
    uint64_t call_hash = 0;
    bool operator==(const Key&) const = default;
  };
  using Send = Callback<void(std::string)>;

  ReplyCache(size_t replies_max, std::chrono::nanoseconds lifetime, const Clock* clock)
      : replies_max_(replies_max), lifetime_(lifetime), clock_(*clock) {}

  // Of one call, that wait for its reply; then the one that has waited for longest is dropped.
  static constexpr size_t kSendersMax = 8;

  // True: the call is new, run it and say `answered`. False: it is not, and `send` was called with its reply, or will
  // be when there is one.
  bool begin(const Key& key, Send send);
  // Calls all senders that wait for this reply. `keep`: false when the call was not run.
  void answered(const Key& key, std::string reply, bool keep = true);

  uint64_t hits() const;

 private:
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Item {
    Key key;
    std::chrono::nanoseconds begun{};
    std::optional<std::string> reply;  // nothing: under way
    std::vector<Send> senders;         // until it was answered
  };
  using Items = std::list<Item>;  // oldest first

  void drop_old() REQUIRES(mutex_);

  const size_t replies_max_;
  const std::chrono::nanoseconds lifetime_;
  const Clock& clock_;
  mutable Mutex mutex_;  // leaf
  Items items_ GUARDED_BY(mutex_);
  std::unordered_map<Key, Items::iterator, Hash> index_ GUARDED_BY(mutex_);
  uint64_t hits_ GUARDED_BY(mutex_) = 0;
};

}  // namespace sluice

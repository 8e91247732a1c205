// What the handlers of one session share: libfuse's userdata.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "cache/clock.h"
#include "fs/fuse/caller.h"
#include "fs/fuse/fuse_ring.h"
#include "fs/fuse/handles.h"
#include "fs/fuse/init_reply.h"
#include "fs/fuse/kernel_cache.h"
#include "fs/fuse/libfuse.h"
#include "fs/fuse/notify.h"
#include "fs/fuse/pending.h"
#include "fs/fuse/session.h"
#include "fs/store/backing_health.h"
#include "fs/store/store.h"

namespace sluice {

struct FuseCounters {
  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> writes{0};
  std::atomic<uint64_t> write_bytes{0};
  std::atomic<uint64_t> errors{0};
};

inline void count(std::atomic<uint64_t>& counter, uint64_t amount = 1) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

struct FuseContext {
  FuseContext(Store& the_store, FuseOptions the_options)
      : store(the_store),
        options(std::move(the_options)),
        health(*options.health),
        pending(options.health),
        kernel_cache(options.kernel_cache_max_bytes),
        groups(&system_clock()),
        // Offset -1: attributes only.
        attributes(options.notifications_max,
                   [this](InodeNumber number, const std::string&) {
                     fuse_lowlevel_notify_inval_inode(session, number, -1, 0);
                   }),
        pages(options.notifications_max, [this](InodeNumber number, const std::string& name) {
          if (name.empty()) {
            fuse_lowlevel_notify_inval_inode(session, number, 0, 0);
          } else {
            fuse_lowlevel_notify_inval_entry(session, number, name.data(), name.size());
          }
        }) {}

  Store& store;
  const FuseOptions options;
  BackingHealth& health;
  PendingRequests pending;
  fuse_session* session = nullptr;  // set once, before any thread
  InitReply init_reply;
  // Whether requests come over io_uring is decided by INIT.
  FuseRing* ring_in_use() const { return ring.load(std::memory_order_acquire); }
  FuseRing* use_ring(std::unique_ptr<FuseRing> decided) {
    owned_ring = std::move(decided);
    ring.store(owned_ring.get(), std::memory_order_release);
    return owned_ring.get();
  }
  std::unique_ptr<FuseRing> owned_ring;
  std::atomic<FuseRing*> ring{nullptr};
  std::atomic<bool> direct_io{false};  // decided by INIT
  Writers writers;                     // before those who are in it
  KernelCache kernel_cache;            // before those who are in it
  HandleTable<FileHandle> files;
  HandleTable<DirectoryHandle> directories;
  CallerGroups groups;
  FuseCounters counters;
  std::atomic<uint64_t> in_flight{0};  // requests that somebody serves; waited on at the end
  Notifier attributes;
  Notifier pages;
};

}  // namespace sluice

#include "fs/store/watched_disk.h"

#include <utility>

namespace sluice {
namespace {

class WatchedDisk final : public Disk {
 public:
  WatchedDisk(std::unique_ptr<Disk> disk, BackingHealth* health) : health_(health), disk_(std::move(disk)) {}

  void read(DiskRequest request) override {
    if (watch(request, BackingUse::read)) disk_->read(std::move(request));
  }
  void write(DiskRequest request) override {
    if (watch(request, BackingUse::write)) disk_->write(std::move(request));
  }
  // The thread is watched itself.
  Result<size_t> write_now(DiskRequest request) override { return disk_->write_now(std::move(request)); }
  DiskStats stats() const override { return disk_->stats(); }
  std::string_view name() const override { return disk_->name(); }

 private:
  // False: refused, and completed.
  bool watch(DiskRequest& request, BackingUse use) {
    auto transfer = health_->begin_transfer(use);
    if (!transfer) {
      request.done(tl::unexpected(transfer.error()));
      return false;
    }
    request.done = [health = health_, use, transfer = *transfer,
                    done = std::move(request.done)](Result<size_t> outcome) mutable {
      health->end_transfer(use, transfer);
      done(std::move(outcome));
    };
    return true;
  }

  BackingHealth* const health_;
  const std::unique_ptr<Disk> disk_;  // last: its last completions use what is above
};

}  // namespace

std::unique_ptr<Disk> watch_disk(std::unique_ptr<Disk> disk, BackingHealth* health) {
  return std::make_unique<WatchedDisk>(std::move(disk), health);
}

}  // namespace sluice

#include "fs/store/store.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cache/assert.h"
#include "cache/descriptor_limit.h"
#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

constexpr std::chrono::seconds kHousekeepingPeriod{1};
constexpr size_t kSweptInodesMax = 8192;   // per round
constexpr size_t kPinnedLookedAtMax = 64;  // the same: each may be a call of the backing
constexpr uint32_t kDescriptorsMin = 16;
constexpr uint64_t kListingsShare = 4;  // of the memory for metadata: one in so many bytes
// The kernel tells of stores into mapped memory only when the file is closed, so it is not relied on for longer.
std::chrono::nanoseconds open_age(const StoreOptions& options) {
  if (!options.watch) return options.open_cache;
  return std::max(options.open_cache, std::min(options.attr_timeout, options.entry_timeout));
}

constexpr uint64_t kInodesWorthTrimming = 65536;  // 18 MB

StoreOptions with_defaults(StoreOptions options) {
  const uint64_t limit = descriptor_limit();
  if (options.descriptors_max == 0) {
    options.descriptors_max = std::max(kDescriptorsMin, static_cast<uint32_t>(std::min<uint64_t>(limit / 4, 65536)));
  }
  if (options.path_files_max == 0) {
    options.path_files_max = std::max(kDescriptorsMin, static_cast<uint32_t>(std::min<uint64_t>(limit / 8, 65536)));
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options, BlockCache* cache, Disk* disk,
                                           const Clock* clock) {
  std::unique_ptr<StoreImpl> store = TRY(StoreImpl::open(options, cache, disk, clock));
  store->start_housekeeping();
  return store;
}

Result<std::unique_ptr<StoreImpl>> StoreImpl::open(const StoreOptions& options, BlockCache* cache, Disk* disk,
                                                   const Clock* clock) {
  act_as_gateway();
  Root root = TRY(Root::open(root_options(options)));
  if (options.watch && !root.has_handles()) return fail(EOPNOTSUPP);
  std::unique_ptr<StoreImpl> store(new StoreImpl(with_defaults(options), std::move(root), cache, disk, clock));
  if (options.watch) store->watch_ = TRY(OutsideWatch::create(store->root_.fd(), options.watch_self, store.get()));
  TRY(store->start_write_back());
  TRY(store->add_root());
  // A watch is on the file system that it was made for, and stays there.
  Result<RootIdentity> identity = fail(EOPNOTSUPP);
  if (!options.watch) identity = RootIdentity::at(options.source);
  if (identity) store->root_identity_ = std::move(*identity);
  return store;
}

void StoreImpl::start_housekeeping() {
  if (watch_ != nullptr) watch_->start();
  if (write_back_ != nullptr) write_back_->start();
  housekeeper_ = std::thread([this] {
    while (!wait_for_stop()) housekeep();
  });
}

bool StoreImpl::wait_for_stop() {
  MutexLock lock(&stop_mutex_);
  if (!stop_) stop_changed_.wait_for(stop_mutex_, kHousekeepingPeriod);
  return stop_;
}

void StoreImpl::stop_housekeeping() {
  {
    MutexLock lock(&stop_mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  if (housekeeper_.joinable()) housekeeper_.join();
}

StoreImpl::StoreImpl(const StoreOptions& options, Root root, BlockCache* cache, Disk* disk, const Clock* clock)
    : options_(options),
      streams_room_(cache),
      root_(std::move(root)),
      root_fd_(std::make_shared<const UniqueFd>(::fcntl(root_.fd(), F_DUPFD_CLOEXEC, 0))),
      open_age_(open_age(options_)),
      metadata_(options_.metadata_cache_bytes - options_.metadata_cache_bytes / kListingsShare,
                std::max({options_.attr_timeout, options_.entry_timeout, options_.negative_timeout, open_age_}), clock),
      listings_(options_.metadata_cache_bytes / kListingsShare, clock),
      table_(&context_, stamp_clock(root_.fd()), options_.watch),
      descriptors_(options_.descriptors_max) {
  context_.cache = cache;
  context_.disk = disk;
  context_.health = options_.health;
  context_.clock = clock;
  context_.stamp_clock = stamp_clock(root_.fd());
  context_.is_local = root_.is_local();
  context_.may_buffer_direct_io = root_.may_buffer_direct_io();
  context_.direct_io = options_.direct_io;
  context_.idle_descriptors_max = options_.descriptors_max / 2;
  context_.residues_max = options_.descriptors_max;
  // Who need not ask the backing for an open shall not have to open the file there either.
  context_.idle_descriptor_age = std::max<std::chrono::nanoseconds>(kIdleDescriptorAgeMin, options_.open_cache);
  context_.changes = &metadata_.changes();
}

StoreImpl::~StoreImpl() {
  watch_.reset();
  stop_housekeeping();
  if (write_back_ != nullptr) write_back_->stop();
}

Result<void> StoreImpl::add_root() {
  if (!*root_fd_) return fail(EMFILE);
  const Statx attributes = TRY(read_statx(root_.fd()));
  numbers_.learn_root(root_.fd(), attributes);
  const InodeRef root = intern(root_.fd(), attributes, 1);
  ASSERT(root->number == kRootInode);
  return {};
}

void StoreImpl::housekeep() {
  look_after_root();
  const auto idle_ticks = static_cast<uint32_t>(context_.idle_descriptor_age / kHousekeepingPeriod);
  descriptors_.tick(idle_ticks);
  open_files_.tick(idle_ticks + 1);  // by then FileData thinks itself idle, and gives up its descriptors when tidied
  for (const InodeRef& inode : table_.sweep(kSweptInodesMax)) let_go(inode);
  unpin_deleted();
  table_.drop_unused_data();
  metadata_.expire();
  listings_.expire();
  if (write_back_ != nullptr) write_back_->tick();
  sync_places();
  give_back_memory();
}

// A pinned file that somebody else deleted would keep its part of the cache for ever: no path leads to it any more, by
// which it could be unpinned. What is known by its place alone may only have been moved.
void StoreImpl::unpin_deleted() {
  for (const InodeRef& inode : table_.some_pinned(kPinnedLookedAtMax)) {
    const BackingCall call(options_.health, BackingUser::fuse, BackingUse::look);
    const auto file = subject(inode->number);
    const auto attributes = file ? read_statx(file->get()) : tl::unexpected(file.error());
    const bool is_deleted = attributes ? attributes->stx_nlink == 0 : !table_.is_current(inode);
    const auto data = table_.data(inode);
    if (is_deleted && data != nullptr) data->unpin();
  }
}

// malloc keeps what it got. After a walk over a million files, forgotten again, that is 280 MB.
void StoreImpl::give_back_memory() {
  const uint64_t inodes = table_.size();
  inodes_max_ = std::max(inodes_max_, inodes);
  if (inodes_max_ - inodes < kInodesWorthTrimming) return;
  inodes_max_ = inodes;
  table_.shrink();
  ::malloc_trim(0);
}

StoreStats StoreImpl::stats() const {
  return {.inodes = table_.size(),
          .files = context_.files.load(),
          .open_files = open_files_.opens(),
          .descriptors = descriptors_.size(),
          .outside_changes = context_.outside_changes.load(),
          .direct_io_refused = context_.direct_io_refused.load(),
          .metadata = metadata_.stats() + listings_.stats(),
          .watching = watch_ != nullptr,
          .watch_events = watch_ != nullptr ? watch_->events() : 0,
          .watch_losses = watch_ != nullptr ? watch_->losses() : 0,
          .write_back = write_back_ != nullptr ? std::optional(write_back_->stats()) : std::nullopt};
}

void StoreImpl::on_outside_change(std::function<void(InodeNumber)> listener) {
  auto shared = std::make_shared<const std::function<void(InodeNumber)>>(std::move(listener));
  MutexLock lock(&listener_mutex_);
  listener_.swap(shared);
}

void StoreImpl::tell_outside_change(InodeNumber number) {
  std::shared_ptr<const std::function<void(InodeNumber)>> listener;
  {
    MutexLock lock(&listener_mutex_);
    listener = listener_;
  }
  if (listener != nullptr && *listener) (*listener)(number);
}

void StoreImpl::on_outside_name(std::function<void(InodeNumber, const std::string&)> listener) {
  auto shared = std::make_shared<const std::function<void(InodeNumber, const std::string&)>>(std::move(listener));
  MutexLock lock(&listener_mutex_);
  name_listener_.swap(shared);
}

void StoreImpl::on_announcement(AnnouncementListener listener) {
  auto shared = listener ? std::make_shared<const AnnouncementListener>(std::move(listener)) : nullptr;
  MutexLock lock(&listener_mutex_);
  announcement_listener_.swap(shared);
}

void StoreImpl::announce(std::vector<Announcement> changes, Callback<void()> done) {
  std::shared_ptr<const AnnouncementListener> listener;
  {
    MutexLock lock(&listener_mutex_);
    listener = announcement_listener_;
  }
  if (listener == nullptr || changes.empty()) return done();
  (*listener)(std::move(changes), std::move(done));
}

void StoreImpl::tell_outside_name(InodeNumber directory, const std::string& name) {
  std::shared_ptr<const std::function<void(InodeNumber, const std::string&)>> listener;
  {
    MutexLock lock(&listener_mutex_);
    listener = name_listener_;
  }
  if (listener != nullptr && *listener) (*listener)(directory, name);
}

void StoreImpl::forget(InodeNumber number, uint64_t references) {
  if (const InodeRef inode = table_.forget(number, references)) let_go(inode);
}

// The inode left the table: nobody will ask for its number again.
void StoreImpl::let_go(const InodeRef& inode) {
  forget_place(inode->number);
  descriptors_.remove(inode->number);
  open_files_.forget(inode->number);
}

// ---- descriptors ----

Result<StoreImpl::Subject> StoreImpl::subject(InodeNumber number) {
  act_as_gateway();
  InodeRef inode = table_.find(number);
  if (inode == nullptr) return fail(ESTALE);
  TRY(context_.admit(BackingUse::look));
  PathFd fd = TRY(path_fd(inode));
  return Subject{std::move(inode), std::move(fd)};
}

Result<PathFd> StoreImpl::path_fd(const InodeRef& inode) {
  if (inode->number == kRootInode) return root_fd_;
  if (PathFd known = descriptors_.get(inode->number)) return known;
  auto opened = with_spare_descriptors([&]() -> Result<PathFd> {
    if (inode->handle.empty()) return std::move(TRY(open_place(inode)).file.fd);
    return std::make_shared<const UniqueFd>(TRY(root_.open_handle(inode->handle)));
  });
  if (!opened) {
    // Not by place: there the file may only have moved, and keeps its number when it is found again.
    if (opened.error().number == ESTALE && !inode->handle.empty()) table_.retire(inode);
    if (opened.error().number == ESTALE) doubt_way_to(inode);
    return opened;
  }
  descriptors_.put(inode->number, *opened);
  return opened;
}

// The file is not where it was. Whoever hears ESTALE goes down the names again, and must not be led the same way.
void StoreImpl::doubt_way_to(const InodeRef& inode) {
  for (const auto& [directory, name] : table_.names_on_way_to(inode))
    metadata_.changes().count(change_key(directory, name));
}

// Follows the place and looks whether the file is still there. Only what is certainly another file, or none, is stale:
// a backing that fails is not a file that was deleted.
Result<StoreImpl::SeenSubject> StoreImpl::open_place(const InodeRef& inode) {
  const std::string path = TRY(table_.path_of(inode));
  auto fd = root_.open_long_path(path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  if (!fd) {
    switch (fd.error().number) {
      case ENOENT:
      case ENOTDIR:
      case ELOOP: return fail(ESTALE);  // a directory on the way became a link
      default: return tl::unexpected(fd.error());
    }
  }
  const Statx attributes = TRY(read_statx(fd->get()));
  if (identity_of(attributes, inode->handle) != inode->identity) return fail(ESTALE);
  return SeenSubject{{inode, std::make_shared<const UniqueFd>(std::move(*fd))}, attributes};
}

}  // namespace sluice

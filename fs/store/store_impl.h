// The one Store. Its parts: store.cc start, housekeeping, descriptors; store_lookup.cc finding files; store_handles.cc
// finding them again in another process; store_names.cc
// what changes directories; store_content.cc what is cached of files; store_recovery.cc a source that has gone;
// store_attributes.cc what reads and changes one inode; store_open.cc opens; store_listing.cc listings by path;
// store_write_back.cc delayed writes; store_finish.cc the end; store_metadata.cc what is known without asking the
// backing, and store_watch.cc what others change.
//
// Every operation begins as the gateway and looks up its inodes and their descriptors (`subject`); what the caller must
// be allowed to do runs under ActAs. No lock of the store is held across a system call.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cache/mutex.h"
#include "fs/store/descriptor_cache.h"
#include "fs/store/directory.h"
#include "fs/store/dirty_record.h"
#include "fs/store/inode_table.h"
#include "fs/store/listing_cache.h"
#include "fs/store/metadata_cache.h"
#include "fs/store/open_file.h"
#include "fs/store/open_files.h"
#include "fs/store/outside_watch.h"
#include "fs/store/place_table.h"
#include "fs/store/root.h"
#include "fs/store/root_identity.h"
#include "fs/store/shown_numbers.h"
#include "fs/store/store.h"
#include "fs/store/write_back.h"

namespace sluice {

// What open(2) with these flags asks for, as of access(2).
int access_needed(int flags);
// Of a path that this caller asks for.
std::string path_key(const Caller& caller, std::string_view path);

class StoreImpl final : public Store, private OutsideWatch::Listener {
 public:
  // As Store::open, but time stands still: nobody calls housekeep() until start_housekeeping().
  static Result<std::unique_ptr<StoreImpl>> open(const StoreOptions& options, BlockCache* cache, Disk* disk,
                                                 const Clock* clock);
  void start_housekeeping();
  ~StoreImpl() override;

  void set_readahead_window(uint64_t bytes) override { readahead_window_bytes_ = bytes; }
  Result<Entry> lookup(InodeNumber parent, std::string_view name) override;
  Result<void> confirm_name(InodeNumber number) override;
  void forget(InodeNumber number, uint64_t references) override;
  Result<Attributes> getattr(InodeNumber number) override;
  Result<Statx> statx(InodeNumber number) override;
  Result<Attributes> setattr(const Caller& caller, InodeNumber number, const SetAttributes& changes) override;
  Result<void> access(const Caller& caller, InodeNumber number, int mode) override;
  Result<std::string> readlink(InodeNumber number) override;
  Result<Entry> mknod(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                      dev_t device) override;
  Result<Entry> mkdir(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode) override;
  Result<Entry> symlink(const Caller& caller, InodeNumber parent, std::string_view name,
                        std::string_view target) override;
  Result<Entry> link(const Caller& caller, InodeNumber number, InodeNumber parent, std::string_view name) override;
  Result<void> unlink(const Caller& caller, InodeNumber parent, std::string_view name) override;
  Result<void> rmdir(const Caller& caller, InodeNumber parent, std::string_view name) override;
  Result<void> rename(const Caller& caller, InodeNumber parent, std::string_view name, InodeNumber new_parent,
                      std::string_view new_name, unsigned flags) override;

  Result<std::string> persistent_handle(InodeNumber number) override;
  Result<Entry> find_persistent(const std::string& handle) override;
  std::optional<Attributes> known_getattr(InodeNumber number) override;
  bool is_known_to_permit(const Caller& caller, InodeNumber number, int mode) override;
  SeenInode remember(InodeNumber number) override;
  bool unchanged(std::span<const SeenInode> inodes) override;
  std::chrono::nanoseconds lifetime() const override { return std::min(options_.attr_timeout, options_.entry_timeout); }
  void observe(std::span<const InodeNumber> numbers, const std::function<void()>& change,
               std::span<Observed> observed) override;
  Result<void> sync(InodeNumber number) override;
  Result<void> sync_file_system() override;

  Result<std::unique_ptr<OpenFile>> open_file(const Caller& caller, InodeNumber number, int flags) override;
  Result<std::unique_ptr<OpenFile>> open_named(const Caller& caller, InodeNumber number, int flags) override;
  Result<Created> create(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                         int flags) override;
  std::unique_ptr<PreparedWrite> prepare_write(uint64_t offset, uint64_t length) override;
  Result<Created> create_nameless(const Caller& caller, InodeNumber parent, mode_t mode, int flags) override;
  Result<std::unique_ptr<OpenDirectory>> open_directory(const Caller& caller, InodeNumber number) override;
  Result<OpenedPath> open_path(const Caller& caller, std::string_view path) override;
  Result<OpenedPath> try_open_path(const Caller& caller, std::string_view path) override;

  Result<std::unique_ptr<PathListing>> list_path(const Caller& caller, std::string_view path) override;

  void sync_open_files() override;
  void finish_delayed() override;
  std::vector<UnwrittenFile> finish() override;
  uint64_t drop_dirty() override;
  void drop_metadata() override;
  std::vector<CachedContent> cached_content() override;
  Result<std::unique_ptr<OpenFile>> open_content(const CachedContent& content) override;

  Result<struct statvfs> statfs(InodeNumber number) override;
  Result<std::string> getxattr(InodeNumber number, const char* name) override;
  Result<std::string> listxattr(InodeNumber number) override;
  Result<void> setxattr(const Caller& caller, InodeNumber number, const char* name, std::string_view value,
                        int flags) override;
  Result<void> removexattr(const Caller& caller, InodeNumber number, const char* name) override;
  Result<std::string> inode_flags(InodeNumber number, InodeFlagsForm form) override;
  Result<void> set_inode_flags(const Caller& caller, InodeNumber number, InodeFlagsForm form,
                               std::string_view value) override;

  void on_outside_change(std::function<void(InodeNumber)> listener) override;
  void on_outside_name(std::function<void(InodeNumber, const std::string&)> listener) override;
  void announce(std::vector<Announcement> changes, Callback<void()> done) override;
  void on_announcement(AnnouncementListener listener) override;
  StoreStats stats() const override;

  // One round of what the store's own thread does every second: closes idle descriptors, tidies files, unpins what
  // others deleted, drops inodes that nobody needs any more. Rounds are the store's measure of time. One thread at a
  // time.
  void housekeep();
  const Root& root() const { return root_; }

 private:
  ReadaheadOptions readahead() {
    return {.window_max_bytes = readahead_window_bytes_,
            .streams_max = options_.readahead.streams_max,
            .room = &streams_room_};
  }
  struct Subject {
    InodeRef inode;
    PathFd fd;  // O_PATH, or better
    int get() const { return fd->get(); }
  };

  StoreImpl(const StoreOptions& options, Root root, BlockCache* cache, Disk* disk, const Clock* clock);
  Result<void> add_root();
  void unpin_deleted();
  bool wait_for_stop();  // for one period of housekeeping
  void stop_housekeeping();
  RootOptions root_options() const { return root_options(options_); }
  static RootOptions root_options(const StoreOptions& options) {
    return {.source = options.source,
            .read_only = options.read_only,
            .clone = options.clone_mount,
            .file_handles = options.file_handles};
  }
  void look_after_root();
  void recover_root();
  void give_back_memory();

  // Descriptors.
  Result<Subject> subject(InodeNumber number);
  Result<PathFd> path_fd(const InodeRef& inode);
  struct SeenSubject {
    Subject file;
    Statx attributes;
  };
  Result<SeenSubject> open_place(const InodeRef& inode);
  Result<std::optional<SeenSubject>> confirm_place(InodeNumber number);
  void doubt_way_to(const InodeRef& inode);
  void let_go(const InodeRef& inode);
  // Descriptors kept for reuse are the first to go when the process has no more.
  template <typename Open>
  auto with_spare_descriptors(Open open) -> decltype(open()) {
    auto opened = open();
    if (opened || (opened.error().number != EMFILE && opened.error().number != ENFILE)) return opened;
    descriptors_.drop_idle();
    open_files_.drop_idle();
    return open();
  }

  // Finding files.
  Result<Entry> look(const Subject& directory, const EntryName& name);
  struct SeenFile {
    const InodeRef& inode;
    const Statx& attributes;
  };
  Entry learn_entry(const Subject& directory, const EntryName& name, const SeenFile& file,
                    const MetadataCache::Look& look);
  Result<Entry> look_up_dots(const Subject& directory, std::string_view name);
  Result<Entry> entry_of(const Subject& file);

  // Numbers of files without handles.
  Result<PlaceTable*> places();
  Result<PlaceTable::Id> place_id(const InodeRef& inode);
  Result<PlaceTable::Place> place_now(const InodeRef& inode);
  Result<Entry> find_by_place(PlaceTable::Id id);
  void note_move(const InodeRef& inode);  // it is in another place now
  void forget_place(InodeNumber number);
  void drop_place(const InodeRef& inode);  // it is gone
  void sync_places();
  FileHandle handle_of(int fd) const;
  // Of a file that was found, as the entry of that name or in a way that tells of none.
  InodeRef intern(int fd, const Statx& attributes, uint64_t references, const InodeRef& parent = nullptr,
                  std::string_view name = "");
  struct stat to_stat(const Statx& attributes) const;  // as clients see it
  // The directory's entry if it is known already; empty also when it does not exist.
  std::optional<Subject> known_entry(const Subject& directory, const EntryName& name);
  // Attributes were read: a file whose data do not agree was changed by somebody else.
  void note(const InodeRef& inode, const Statx& attributes);
  Statx shown(const InodeRef& inode, Statx attributes) const;
  void tell_outside_change(InodeNumber number);
  void tell_outside_name(InodeNumber directory, const std::string& name);

  // What is known without asking the backing. Each begins by hearing of what others did.
  using Look = MetadataCache::Look;
  std::optional<KnownMetadata> known(const MetadataKey& key, std::chrono::nanoseconds age_max);
  std::optional<Entry> known_lookup(InodeNumber parent, std::string_view name);
  std::optional<Attributes> known_attributes(InodeNumber number, std::chrono::nanoseconds age_max);
  Result<std::string> text_of(const MetadataKey& key, Callback<Result<std::string>(const Subject& file)> read);
  bool is_known_grant(const Caller& caller, InodeNumber number, int mode, std::chrono::nanoseconds age_max);
  std::unique_ptr<OpenFile> open_known(const Caller& caller, InodeNumber number, int flags);
  // What an open by path is for: any reads, or reads of what is resident, which need no descriptor.
  enum class PathReads { any, resident };
  std::optional<Result<OpenedPath>> open_known_path(const Caller& caller, std::string_view path, PathReads reads);
  // `look` was made for this file, unless it was `found` by the look.
  void learn_attributes(InodeNumber number, const Statx& attributes, const Look& look, bool found = false);
  void learn_grant(const Caller& caller, InodeNumber number, int mode, const Look& look);
  bool opens_may_know() const { return open_age_.count() > 0; }

  // What others change.
  void on_event(const OutsideEvent& event) override;
  void on_loss() override;
  void settle() override;
  void on_name_event(const OutsideEvent& event);
  void settle_file(const InodeRef& inode);

  // Changing.
  Result<void> check_writable() const;
  Result<void> check_access(const Caller& caller, int fd, int mode) const;
  Result<Statx> ask_attributes(InodeNumber number);
  // Runs `change`, which moves the ctime of these files, so that their data do not take it for somebody else's.
  Result<void> change_through_data(const Subject* first, const Subject* second, Callback<Result<void>()> change,
                                   SetsMtime sets_mtime = SetsMtime::no);
  Result<Entry> make_entry(const Caller& caller, InodeNumber parent, std::string_view name, unsigned needs,
                           const std::function<int(int directory, const char* name)>& make);
  Result<void> remove(const Caller& caller, InodeNumber parent, std::string_view name, int flags);
  void after_removal(const Subject& file);

  // Delayed writes.
  Result<void> start_write_back();
  Result<void> write_back(const InodeRef& inode);
  Result<void> keep_conflict(InodeNumber number, const std::function<Result<void>(int fd)>& fill);

  // Opening. What the caller may do is checked before.
  Result<void> resize(const Subject& file, uint64_t size, SetIdBits set_id);
  Result<OpenedData> open_data(const InodeRef& inode, int fd, int flags);
  Result<std::unique_ptr<OpenFile>> open_seen(const Caller& caller, const SeenSubject& seen, int flags,
                                              const MetadataCache::Look& look);
  Result<std::unique_ptr<OpenFile>> open_subject(const Subject& file, int flags);
  struct NewFile {
    const char* name;
    int flags;  // of open(2)
    mode_t mode;
  };
  static mode_t lent_mode(mode_t mode);
  Result<UniqueFd> make_file(const Caller& caller, const Subject& directory, const NewFile& file);
  Result<Created> create_new(const Caller& caller, const Subject& directory, const EntryName& name, mode_t mode,
                             int flags);
  Result<Created> open_new(const Subject& file, Statx attributes, mode_t mode, int flags);
  Result<OpenedPath> open_path_now(const Caller& caller, std::string_view path, uint64_t resolve, PathReads reads);
  Result<UniqueFd> open_to_list(const Caller& caller, const Subject& directory);
  OpenDirectoryParts::Learn begin_learning(InodeNumber number, int fd);
  Result<OpenedPath> open_path_fd(const UniqueFd& fd, const Statx& attributes, PathReads reads);
  std::unique_ptr<OpenFile> open_cached(const InodeRef& inode, const Stamp* seen);

  const StoreOptions options_;
  StreamsRoom streams_room_;
  std::atomic<uint64_t> readahead_window_bytes_{options_.readahead.window_max_bytes};
  const Root root_;
  const PathFd root_fd_;
  std::optional<RootIdentity> root_identity_;  // none: it could not be told
  bool root_is_gone_ = false;                  // of the housekeeper
  bool told_of_other_root_ = false;            // the same
  FileDataContext context_;
  const std::chrono::nanoseconds open_age_;  // of what an open may rely on; 0: it asks
  MetadataCache metadata_;
  ListingCache listings_;
  std::unique_ptr<DirtyRecord> dirty_record_;
  std::unique_ptr<WriteBack> write_back_;  // none: writes are not delayed. Outlives the files
  ShownNumbers numbers_;
  InodeTable table_;
  DescriptorCache descriptors_;
  OpenFiles open_files_;
  std::atomic<uint32_t> path_listings_{0};
  // Bytes of prepared writes that are not all there. Shared with them: one may be left when the store ends.
  const std::shared_ptr<std::atomic<uint64_t>> expected_bytes_ = std::make_shared<std::atomic<uint64_t>>(0);
  uint64_t inodes_max_ = 0;  // since memory was given back last; of the housekeeper

  Mutex listener_mutex_;
  std::shared_ptr<const std::function<void(InodeNumber)>> listener_ GUARDED_BY(listener_mutex_);
  std::shared_ptr<const std::function<void(InodeNumber, const std::string&)>> name_listener_
      GUARDED_BY(listener_mutex_);
  std::shared_ptr<const AnnouncementListener> announcement_listener_ GUARDED_BY(listener_mutex_);

  Mutex places_mutex_;                                            // leaf, but for opening the table
  std::unique_ptr<PlaceTable> places_ GUARDED_BY(places_mutex_);  // once it was needed; then it stays
  std::unordered_map<InodeNumber, PlaceTable::Id> place_ids_ GUARDED_BY(places_mutex_);

  Mutex unsettled_mutex_;  // leaf
  std::unordered_set<InodeNumber> unsettled_ GUARDED_BY(unsettled_mutex_);
  std::vector<std::pair<InodeNumber, std::string>> unsettled_names_ GUARDED_BY(unsettled_mutex_);
  bool all_unsettled_ GUARDED_BY(unsettled_mutex_) = false;

  Mutex stop_mutex_;
  CondVar stop_changed_;
  bool stop_ GUARDED_BY(stop_mutex_) = false;
  std::thread housekeeper_;
  std::unique_ptr<OutsideWatch> watch_;  // ends first; null: off
};

}  // namespace sluice

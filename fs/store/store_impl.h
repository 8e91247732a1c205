// The one Store. Its parts: store.cc start, housekeeping, descriptors; store_lookup.cc finding files; store_names.cc
// what changes directories; store_content.cc what is cached of files; store_attributes.cc what reads and changes one
// inode; store_open.cc opens.
//
// Every operation begins as the gateway and looks up its inodes and their descriptors (`subject`); what the caller must
// be allowed to do runs under ActAs. No lock of the store is held across a system call.
#pragma once

#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>

#include "cache/mutex.h"
#include "fs/store/descriptor_cache.h"
#include "fs/store/inode_table.h"
#include "fs/store/open_file.h"
#include "fs/store/open_files.h"
#include "fs/store/root.h"
#include "fs/store/store.h"

namespace sluice {

class StoreImpl final : public Store {
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
  Result<struct stat> getattr(InodeNumber number) override;
  Result<struct stat> setattr(const Caller& caller, InodeNumber number, const SetAttributes& changes) override;
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

  Result<std::unique_ptr<OpenFile>> open_file(const Caller& caller, InodeNumber number, int flags) override;
  Result<Created> create(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                         int flags) override;
  Result<std::unique_ptr<OpenDirectory>> open_directory(const Caller& caller, InodeNumber number) override;
  Result<OpenedPath> open_path(const Caller& caller, std::string_view path) override;
  Result<OpenedPath> try_open_path(const Caller& caller, std::string_view path) override;

  std::vector<CachedContent> cached_content() override;
  Result<std::unique_ptr<OpenFile>> open_content(const CachedContent& content) override;

  Result<struct statvfs> statfs(InodeNumber number) override;
  Result<std::string> getxattr(InodeNumber number, const char* name) override;
  Result<std::string> listxattr(InodeNumber number) override;
  Result<void> setxattr(const Caller& caller, InodeNumber number, const char* name, std::string_view value,
                        int flags) override;
  Result<void> removexattr(const Caller& caller, InodeNumber number, const char* name) override;

  void on_outside_change(std::function<void(InodeNumber)> listener) override;
  StoreStats stats() const override;

  // One round of what the store's own thread does every second: closes idle descriptors, tidies files, drops inodes
  // that nobody needs any more. Rounds are the store's measure of time. One thread at a time.
  void housekeep();
  const Root& root() const { return root_; }

 private:
  ReadaheadOptions readahead() const {
    return {.window_max_bytes = readahead_window_bytes_, .streams_max = options_.readahead.streams_max};
  }
  struct Subject {
    InodeRef inode;
    PathFd fd;  // O_PATH, or better
    int get() const { return fd->get(); }
  };

  StoreImpl(const StoreOptions& options, Root root, BlockCache* cache, Disk* disk, const Clock* clock);
  Result<void> add_root();
  bool wait_for_stop();  // for one period of housekeeping
  void give_back_memory();

  // Descriptors.
  Result<Subject> subject(InodeNumber number);
  Result<PathFd> path_fd(const InodeRef& inode);
  Result<UniqueFd> open_place(const InodeRef& inode);
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
  Result<Entry> look_up_dots(const Subject& directory, std::string_view name);
  Result<Entry> entry_of(const Subject& file);
  FileHandle handle_of(int fd) const;
  // The directory's entry if it is known already; empty also when it does not exist.
  std::optional<Subject> known_entry(const Subject& directory, const EntryName& name);
  // Attributes were read: a file whose data do not agree was changed by somebody else.
  void note(const InodeRef& inode, const Statx& attributes);
  void tell_outside_change(InodeNumber number);

  // Changing.
  Result<void> check_writable() const;
  Result<void> check_access(const Caller& caller, int fd, int mode) const;
  // Runs `change`, which moves the ctime of these files, so that their data do not take it for somebody else's.
  Result<void> change_through_data(const Subject* first, const Subject* second, Callback<Result<void>()> change);
  Result<Entry> make_entry(const Caller& caller, InodeNumber parent, std::string_view name, unsigned needs,
                           const std::function<int(int directory, const char* name)>& make);
  Result<void> remove(const Caller& caller, InodeNumber parent, std::string_view name, int flags);
  void after_removal(const Subject& file);

  // Opening. What the caller may do is checked before.
  Result<void> resize(const Subject& file, uint64_t size, SetIdBits set_id);
  Result<OpenedData> open_data(const InodeRef& inode, int fd, bool for_writing);
  Result<std::unique_ptr<OpenFile>> open_subject(const Subject& file, int flags);
  Result<Created> create_new(const Caller& caller, const Subject& directory, const EntryName& name, mode_t mode,
                             int flags);
  Result<OpenedPath> open_path_now(std::string_view path, uint64_t resolve);

  const StoreOptions options_;
  std::atomic<uint64_t> readahead_window_bytes_{options_.readahead.window_max_bytes};
  const Root root_;
  const PathFd root_fd_;
  FileDataContext context_;
  InodeTable table_;
  DescriptorCache descriptors_;
  OpenFiles open_files_;
  uint64_t inodes_max_ = 0;  // since memory was given back last; of the housekeeper

  Mutex listener_mutex_;
  std::shared_ptr<const std::function<void(InodeNumber)>> listener_ GUARDED_BY(listener_mutex_);

  Mutex stop_mutex_;
  CondVar stop_changed_;
  bool stop_ GUARDED_BY(stop_mutex_) = false;
  std::thread housekeeper_;
};

}  // namespace sluice

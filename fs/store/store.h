// Store turns files into blocks and paths into files: inode table, attributes, open files, generations, path safety.
// Every front end (FUSE, HTTP, NFS) calls it and only it, and a change by one front end is seen at once by all.
//
// Calls named after system calls block like them: never call them on a network loop thread. Data (OpenFile::data()) is
// asynchronous. Thread-safe. Errors are those of the system call of that name on the backing, plus ESTALE when the
// inode behind a number was replaced, EROFS when the store is read-only.
//
// A number that a call returns in an Entry has one more reference: balance with `forget`. Open files and directories
// end before the store.
#pragma once

#include <sys/statvfs.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/block_cache.h"
#include "cache/callback.h"
#include "cache/disk.h"
#include "cache/readahead.h"
#include "fs/store/file_data.h"
#include "fs/store/metadata_cache.h"
#include "fs/store/types.h"

namespace sluice {

struct StoreOptions {
  std::string source;  // directory
  bool read_only = false;
  bool direct_io = true;
  ReadaheadOptions readahead;
  uint32_t descriptors_max = 0;  // idle descriptors kept for reuse; 0: a quarter of RLIMIT_NOFILE
  // Files that opens by path may hold together with all others, so that network clients leave descriptors to the mount;
  // beyond, those get EMFILE. 0: an eighth of RLIMIT_NOFILE.
  uint32_t path_files_max = 0;
  // What was learnt of files is relied on for so long; see metadata_cache.h.
  std::chrono::nanoseconds attr_timeout{};
  std::chrono::nanoseconds entry_timeout{};
  std::chrono::nanoseconds negative_timeout{};
  // Also by opens, whose answer else always comes from the backing. 0: with `watch` as long as by everything else.
  std::chrono::nanoseconds open_cache{};
  uint64_t metadata_cache_bytes = 0;
  // Changes by others are heard of at once (outside_watch.h). Store::open fails where that is not possible.
  bool watch = false;
  // Where persistent handles of files without short file handles are kept: a file, made when it is needed. Empty:
  // nowhere.
  std::string place_table;
  bool watch_self = false;  // for tests: of changes that this process makes past the store, too
  // False: do without, even where the backing and our rights allow it. For tests and for backings that fail at it.
  bool clone_mount = true;   // a private clone of the mount as root; else mounts below the source answer EXDEV
  bool file_handles = true;  // files are found again by handle; else by parent and name. Needs clone_mount
  // Delays writes up to this many bytes over all files; 0: none. See write_back.h.
  uint64_t dirty_max_bytes = 0;
  std::chrono::nanoseconds dirty_expire = std::chrono::seconds(5);
  // A file that says how much was dirty when a process ended; see dirty_record.h. Empty: none.
  std::string dirty_record;
  std::chrono::nanoseconds dirty_patience{};  // how long a write waits for room; 0: for ever
  BackingHealth* health = nullptr;            // none: calls are never refused. Outlives the store
};

struct StoreStats {
  uint64_t inodes = 0;  // known
  uint64_t files = 0;   // that are open, were until just now, or of which something is cached
  uint64_t open_files = 0;
  uint64_t descriptors = 0;  // kept for reuse
  uint64_t outside_changes = 0;
  uint64_t direct_io_refused = 0;
  MetadataCacheStats metadata;
  bool watching = false;
  uint64_t watch_events = 0;
  uint64_t watch_losses = 0;                 // times that the kernel's queue of events ran over
  std::optional<WriteBackStats> write_back;  // nothing: writes are not delayed
};

// A file of which something was lost on the way to the backing and nobody was told, or delayed bytes are still here.
struct UnwrittenFile {
  std::string path;  // below the source; empty: not known
  int error = 0;     // the last
};

// One open of one regular file by one front end. Closing is destruction.
class OpenFile {
 public:
  virtual ~OpenFile() = default;
  virtual InodeNumber inode() const = 0;
  virtual int flags() const = 0;  // of open(2)
  virtual FileData& data() = 0;
  virtual std::shared_ptr<FileData> shared_data() = 0;
  // Like fsync(2), and close(2) of who wrote. What the backing could not keep of the file, though it had accepted it,
  // is told to each open once. Errors of `flush`: also ENOSYS, on this backing close has nothing to say, ever.
  virtual Result<void> fsync(bool data_only) = 0;
  virtual Result<void> flush() = 0;
  // data().read() that also runs this open's readahead. Calls may overlap.
  virtual void read(uint64_t offset, uint64_t length, Callback<void(Result<FileSlice>)> done) = 0;
};

struct DirectoryEntry {
  std::string_view name;
  uint64_t ino = 0;          // as its attributes show it, but of what is the root of a btrfs subvolume
  uint8_t type = 0;          // DT_*
  uint64_t next_offset = 0;  // where to go on after this entry
};

class OpenDirectory {
 public:
  virtual ~OpenDirectory() = default;
  // Visits entries from `offset` (0, or a next_offset returned before) until the end or until `visit` returns false
  // (the entry it refused comes again next time). Includes "." and "..". Stable while the directory changes, as the
  // backing is.
  virtual Result<void> read(uint64_t offset, const std::function<bool(const DirectoryEntry&)>& visit) = 0;
  virtual Result<void> fsync(bool data_only) = 0;
};

// What a directory has under a name: of a symbolic link, what it leads to.
struct ListedEntry {
  std::string name;
  bool is_directory = false;  // else a regular file
  uint64_t size = 0;
  int64_t modified_s = 0;  // since 1970
};

// One reading of a directory, from its first entry to its last. One thread at a time.
class PathListing {
 public:
  virtual ~PathListing() = default;
  // Looks at up to `entries_max` more and appends them, in the directory's own order. False: those were the last. Left
  // out: ".", "..", what is neither a file nor a directory, what went meanwhile, links that the caller cannot follow or
  // that lead out of the source.
  virtual Result<bool> read(size_t entries_max, std::vector<ListedEntry>& entries) = 0;
};

enum class InodeFlagsForm : uint8_t {
  flags,     // an unsigned
  extended,  // struct fsxattr: also the project
};

// What an inode was before a change and after it. Nothing: not known.
struct Observed {
  std::optional<struct stat> before, after;
};

// An inode as it was at some moment.
struct SeenInode {
  InodeNumber number = 0;
  uint32_t changes = 0;
};

// Something that a front end changed and others have told their clients' caches.
struct Announcement {
  InodeNumber number = 0;
  std::string name;  // empty: content and attributes of the inode; else what it has under this name
};

// A file with cached pages, as it can be found again by another process.
struct CachedContent {
  std::string handle;            // bytes of its file handle; empty where there are none
  std::string path;              // below the source; empty: not known
  Stamp stamp;                   // of the content that the pages are of
  std::vector<PageRange> pages;  // that were asked for
};

class Store {
 public:
  // `cache` outlives the store. `disk` ends before it: completions on their way refer to files of the store.
  // Errors: ENOENT, ENOTDIR, EACCES for the source. EOPNOTSUPP: it cannot be watched.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options, BlockCache* cache, Disk* disk,
                                             const Clock* clock);
  virtual ~Store() = default;

  // The largest window of files that are opened from now on. Any thread.
  virtual void set_readahead_window(uint64_t bytes) = 0;

  virtual Result<Entry> lookup(InodeNumber parent, std::string_view name) = 0;
  virtual void forget(InodeNumber number, uint64_t references) = 0;
  // For front ends that open by a name they looked up earlier: does it still lead to this inode, from the root down?
  // One openat2(2). Errors: ESTALE when it does not. A file whose name we removed ourselves passes.
  virtual Result<void> confirm_name(InodeNumber number) = 0;
  virtual Result<Attributes> getattr(InodeNumber number) = 0;
  virtual Result<struct ::statx> statx(InodeNumber number) = 0;  // as the backing has it now
  // In this order: size, owner, mode, times; an error leaves what was done before it.
  virtual Result<Attributes> setattr(const Caller& caller, InodeNumber number, const SetAttributes& changes) = 0;
  virtual Result<void> access(const Caller& caller, InodeNumber number, int mode) = 0;
  virtual Result<std::string> readlink(InodeNumber number) = 0;
  virtual Result<Entry> mknod(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                              dev_t device) = 0;
  virtual Result<Entry> mkdir(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode) = 0;
  virtual Result<Entry> symlink(const Caller& caller, InodeNumber parent, std::string_view name,
                                std::string_view target) = 0;
  virtual Result<Entry> link(const Caller& caller, InodeNumber number, InodeNumber parent, std::string_view name) = 0;
  virtual Result<void> unlink(const Caller& caller, InodeNumber parent, std::string_view name) = 0;
  virtual Result<void> rmdir(const Caller& caller, InodeNumber parent, std::string_view name) = 0;
  // `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE; others are EINVAL.
  virtual Result<void> rename(const Caller& caller, InodeNumber parent, std::string_view name, InodeNumber new_parent,
                              std::string_view new_name, unsigned flags) = 0;

  // For front ends whose clients name files by handles of ours (NFS).
  // What the file can be found by at any later time, also by another process; not longer than kPersistentHandleMax.
  // Errors: EOPNOTSUPP, the backing has no such handles and there is no table of places.
  static constexpr size_t kPersistentHandleMax = 48;
  virtual Result<std::string> persistent_handle(InodeNumber number) = 0;
  // One more reference. Errors: ESTALE.
  virtual Result<Entry> find_persistent(const std::string& handle) = 0;
  // What is known without asking the backing, which may block; no older than attr_timeout.
  virtual std::optional<Attributes> known_getattr(InodeNumber number) = 0;
  virtual bool is_known_to_permit(const Caller& caller, InodeNumber number, int mode) = 0;
  // For front ends that keep what they were told: whoever remembers an inode, and what is learnt of it afterwards, can
  // ask later whether that may have changed, through the store or as it has heard. References must be held as long.
  virtual SeenInode remember(InodeNumber number) = 0;
  virtual bool unchanged(std::span<const SeenInode> inodes) = 0;
  // How long what was learnt is good even where nothing is heard of others' changes.
  virtual std::chrono::nanoseconds lifetime() const = 0;
  // Runs `change` on the calling thread, and asks the backing for attributes before and after. `before` can be read
  // inside `change`, and is left out afterwards where another front end may have changed the same inode meanwhile; of
  // others' changes nothing is known. As many numbers as places for results, at most 4.
  virtual void observe(std::span<const InodeNumber> numbers, const std::function<void()>& change,
                       std::span<Observed> observed) = 0;
  // What was changed in a directory, or of an inode's attributes, is on the disk: fsync(2) of it.
  virtual Result<void> sync(InodeNumber number) = 0;
  // The same for all that is no regular file and no directory, and cannot be synced by itself: syncfs(2) of the
  // backing.
  virtual Result<void> sync_file_system() = 0;

  // Regular files only (others: EINVAL; the kernel opens those itself). O_DIRECT, O_APPEND, access mode are honoured.
  // O_TRUNC too.
  virtual Result<std::unique_ptr<OpenFile>> open_file(const Caller& caller, InodeNumber number, int flags) = 0;
  // confirm_name and open_file, with fewer calls of the backing.
  virtual Result<std::unique_ptr<OpenFile>> open_named(const Caller& caller, InodeNumber number, int flags) = 0;
  struct Created {
    Entry entry;
    std::unique_ptr<OpenFile> file;
  };
  virtual Result<Created> create(const Caller& caller, InodeNumber parent, std::string_view name, mode_t mode,
                                 int flags) = 0;
  // Room for a write of which the bytes are still on their way, so that they need not be copied once more when they are
  // all there: FileData::write takes it then. In the cache's memory, as long as such writes do not take too much of it.
  // Any thread; never blocks. The range must not exceed INT64_MAX.
  virtual std::unique_ptr<PreparedWrite> prepare_write(uint64_t offset, uint64_t length) = 0;
  // O_TMPFILE: a file without a name, which `link` can give it unless `flags` have O_EXCL. Errors: EOPNOTSUPP, not on
  // this backing.
  virtual Result<Created> create_nameless(const Caller& caller, InodeNumber parent, mode_t mode, int flags) = 0;
  virtual Result<std::unique_ptr<OpenDirectory>> open_directory(const Caller& caller, InodeNumber number) = 0;

  // For exports by name: goes down from the root by openat2(RESOLVE_BENEATH) as the caller; symbolic links inside the
  // source are followed. `path` is relative ("" is the root), already decoded, without NUL. Regular files are opened
  // for reading, anything else gives only its attributes. Errors: also EXDEV when a link or ".." leads out of the
  // source, or `path` is absolute.
  struct OpenedPath {
    struct stat attributes {};
    std::unique_ptr<OpenFile> file;  // nullptr unless a regular file
  };
  virtual Result<OpenedPath> open_path(const Caller& caller, std::string_view path) = 0;
  // The same without ever waiting for the backing (what is known, or RESOLVE_CACHED on a local file system); EAGAIN:
  // use open_path on a thread that may block. The thread keeps the caller's file system identity (switching costs more
  // than the open) until it calls anything else of the store: between two calls it must not open files by itself. The
  // file may be one that reads only what is resident: a read that says ESTALE is to be asked of open_path's.
  virtual Result<OpenedPath> try_open_path(const Caller& caller, std::string_view path) = 0;

  // The directory of this path, as `caller` may read it. Errors: also EMFILE, too many are being read. Ends before the
  // store.
  virtual Result<std::unique_ptr<PathListing>> list_path(const Caller& caller, std::string_view path) = 0;

  // Everything that is in the cache; of files whose stamp is not to be trusted yet, nothing.
  virtual std::vector<CachedContent> cached_content() = 0;
  // The file of such an item, as the gateway. Errors: ESTALE when it is gone or was changed since.
  virtual Result<std::unique_ptr<OpenFile>> open_content(const CachedContent& content) = 0;

  // Front ends are about to close what is open, under those who use it: what was written to it and not fsynced since
  // is fsynced. Errors are for `finish`.
  virtual void sync_open_files() = 0;
  // What delayed writes left is written and made durable, as far as that is possible, and from now on nothing is
  // delayed any more. While there is a disk.
  virtual void finish_delayed() = 0;
  // The end of housekeeping, when nothing is open any more: what is left in the PageCache is written back.
  virtual std::vector<UnwrittenFile> finish() = 0;

  // Gives up delayed bytes of files that could not be written the last time they were tried. Returns how many bytes.
  virtual uint64_t drop_dirty() = 0;

  // Nothing that was learnt of files so far is relied on any more.
  virtual void drop_metadata() = 0;

  virtual Result<struct statvfs> statfs(InodeNumber number) = 0;
  virtual Result<std::string> getxattr(InodeNumber number, const char* name) = 0;
  virtual Result<std::string> listxattr(InodeNumber number) = 0;  // names, each ended by NUL
  virtual Result<void> setxattr(const Caller& caller, InodeNumber number, const char* name, std::string_view value,
                                int flags) = 0;
  virtual Result<void> removexattr(const Caller& caller, InodeNumber number, const char* name) = 0;
  // What ioctl(2) says by FS_IOC_GETFLAGS, or FS_IOC_FSGETXATTR, and how it is set. Errors: ENOTTY, the backing has
  // none, or the file is neither regular nor a directory.
  virtual Result<std::string> inode_flags(InodeNumber number, InodeFlagsForm form) = 0;
  virtual Result<void> set_inode_flags(const Caller& caller, InodeNumber number, InodeFlagsForm form,
                                       std::string_view value) = 0;

  // `listener` is told of files whose content or attributes were found changed behind our back (at open or
  // revalidation), so that a front end can drop what a kernel caches above it. Called on the thread that noticed, no
  // lock held. At most one.
  virtual void on_outside_change(std::function<void(InodeNumber)> listener) = 0;
  // The same for names that appeared or went, when the store watches.
  virtual void on_outside_name(std::function<void(InodeNumber directory, const std::string& name)> listener) = 0;

  // A front end changed these: `done` runs, on any thread, when all that another one's kernel has cached of them is
  // gone. A listener calls it for each announcement, once, never inside a lock. At most one listener.
  virtual void announce(std::vector<Announcement> changes, Callback<void()> done) = 0;
  using AnnouncementListener = std::function<void(std::vector<Announcement> changes, Callback<void()> done)>;
  virtual void on_announcement(AnnouncementListener listener) = 0;

  virtual StoreStats stats() const = 0;
};

}  // namespace sluice

// NfsService runs the procedures of NFS version 3 and MOUNT version 3 on a store. It knows of no sockets: a call comes
// with decoded credentials and leaves a reply.
//
//   service.cc               handles to files, permissions, what all procedures share
//   procedures_attributes.cc GETATTR SETATTR ACCESS FSSTAT FSINFO PATHCONF
//   procedures_names.cc      LOOKUP READLINK CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR RENAME LINK
//   procedures_data.cc       READ WRITE COMMIT
//   procedures_directory.cc  READDIR READDIRPLUS
//   procedures_mount.cc      MOUNT's
//
// Procedures block like the store's calls do, but for `try_run` and the data of READ. Thread-safe.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/mutex.h"
#include "fs/store/store.h"
#include "net/nfs/export_rules.h"
#include "net/nfs/file_table.h"
#include "net/nfs/handles.h"
#include "net/nfs/listing_cache.h"
#include "net/nfs/protocol.h"
#include "net/nfs/rpc.h"
#include "net/nfs/xdr.h"
#include "net/peer_address.h"

namespace sluice {

// One call to run. `reply` begins behind the RPC head.
struct NfsCall {
  NfsCall(std::string_view bytes, const NfsClientOptions* client_options) : arguments(bytes), options(client_options) {}

  XdrReader arguments;
  const NfsClientOptions* options;  // null: a client that may not use the export
  std::shared_ptr<const Caller> caller;
  PeerAddress peer;
  std::unique_ptr<PreparedWrite> data;  // of a WRITE, if they came apart from the arguments, which end at their length
  XdrWriter reply;
  std::vector<Announcement> announcements;  // to be made before the reply is sent
};

// Where the data of a READ come from. The reply's head says how much before they are there.
struct NfsReadTarget {
  std::shared_ptr<OpenFile> file;
  struct stat attributes {};
  uint64_t offset = 0;
  uint32_t count = 0;
};

struct NfsReadFailure {
  NfsStatus status;
  std::optional<struct stat> attributes;
};

class NfsService {
 public:
  // `store` outlives it.
  NfsService(Store* store, const NfsExportKey& key, NfsFileTableOptions files);

  // False: the arguments cannot be decoded.
  bool run(NfsProcedure procedure, NfsCall& call);
  bool run(MountProcedure procedure, NfsCall& call);
  // Answers GETATTR from what is known, without blocking. False: nothing was done.
  bool try_run(NfsProcedure procedure, NfsCall& call);

  // READ up to its data. Nothing: the arguments cannot be decoded.
  enum class Wait : uint8_t { no, yes };
  std::optional<tl::expected<NfsReadTarget, NfsReadFailure>> begin_read(NfsCall& call, Wait wait);
  void write_read_failure(XdrWriter& reply, const NfsReadFailure& failure);
  // The reply's head up to the data's length.
  void write_read_head(XdrWriter& reply, const NfsReadTarget& target, uint64_t length);

  NfsFileTable& files() { return files_; }
  const NfsFileTable& files() const { return files_; }
  void stop();  // closes everything and lets go of the store's inodes; no calls come any more
  uint64_t write_verifier() const { return write_verifier_.load(); }
  // Calls of WRITE that were run, and bytes that they wrote. Any thread.
  uint64_t writes() const { return writes_.load(std::memory_order_relaxed); }
  uint64_t write_bytes() const { return write_bytes_.load(std::memory_order_relaxed); }

 private:
  using Handler = void (NfsService::*)(NfsCall&);
  static Handler handler_of(NfsProcedure procedure);

  // Attributes.
  void getattr(NfsCall& call);
  void setattr(NfsCall& call);
  void access(NfsCall& call);
  void fsstat(NfsCall& call);
  void fsinfo(NfsCall& call);
  void pathconf(NfsCall& call);
  NfsResult<> change_attributes(NfsCall& call, const NfsFile& file, mode_t mode, SetAttributes changes);
  NfsResult<> resize(const NfsCall& call, InodeNumber number, uint64_t size);
  NfsResult<> sync_attributes(const NfsCall& call, InodeNumber number, mode_t mode);
  // Names.
  void lookup(NfsCall& call);
  void readlink(NfsCall& call);
  void create(NfsCall& call);
  void mkdir(NfsCall& call);
  void symlink(NfsCall& call);
  void mknod(NfsCall& call);
  void remove(NfsCall& call);
  void rmdir(NfsCall& call);
  void rename(NfsCall& call);
  void link(NfsCall& call);
  void make(NfsCall& call, NfsProcedure procedure, std::string_view handle, std::string_view name,
            const std::function<NfsResult<Entry>(const NfsFile& directory)>& make_it);
  struct NewFile {
    Entry entry;
    bool is_new = false;  // false: what has the name
  };
  NfsResult<NewFile> create_or_find(const NfsCall& call, const NfsFile& directory, std::string_view name, mode_t mode);
  NfsResult<Entry> make_exclusive(NfsCall& call, const NfsFile& directory, std::string_view name,
                                  std::string_view verifier);
  void remove_entry(NfsCall& call, NfsProcedure procedure);
  void let_go(InodeNumber directory, const Entry& entry, bool lost_name);
  NfsResult<Entry> finish_new(NfsCall& call, Result<Entry> made, SetAttributes rest);
  NfsResult<Entry> resize_existing(NfsCall& call, const Entry& entry, std::optional<uint64_t> size);
  NfsResult<Entry> entry_after(const Entry& entry, const NfsResult<>& outcome);
  // Null: it was made, and is gone already.
  NfsResult<NfsFileRef> file_of_new(const NfsResult<Entry>& made, const NfsFile& directory);
  // Data.
  void write(NfsCall& call);
  void commit(NfsCall& call);
  NfsResult<std::unique_ptr<PreparedWrite>> take_data(NfsCall& call, uint64_t offset, uint32_t count,
                                                      std::string_view bytes);
  NfsResult<size_t> write_data(NfsCall& call, const NfsFile& file, std::unique_ptr<PreparedWrite> data);
  NfsResult<> make_durable(const NfsFile& file, bool data_only);
  void renew_verifier();
  // Directories.
  void readdir(NfsCall& call);
  void readdirplus(NfsCall& call);
  struct ListOptions {
    uint64_t cookie = 0;   // of the entry before the first
    size_t bytes_max = 0;  // of the reply
    size_t names_max = 0;  // of its names and what belongs to them
    bool has_files = false;
    bool shows_files = false;
  };
  void list(NfsCall& call, const NfsFileRef& directory, const ListOptions& options);
  NfsResult<> write_entries(NfsCall& call, const NfsFile& directory, const ListOptions& options, NfsListing* listing);
  void write_entry_file(NfsCall& call, const NfsFile& directory, std::string_view name, NfsListing* listing);

  // What all procedures share.
  NfsResult<NfsFileRef> file_of(NfsCall& call, std::string_view handle);
  static NfsResult<> may_change(const NfsCall& call);
  NfsResult<NfsFileRef> file_of_entry(const Entry& entry);
  // Errors: also stale, the file has no name any more.
  NfsResult<struct stat> ask_attributes(const NfsFileRef& file);
  std::optional<struct stat> attributes_of(const NfsFile& file);
  // What is to be said of a file, if there is one, that a call did nothing to.
  Observed unchanged(const NfsResult<NfsFileRef>& file);
  // Its last name is gone, by what the backing says now.
  bool is_gone(const NfsFileRef& file);
  // Runs `change` with the attributes from before, and says what was seen. Errors: also stale, as above; then it was
  // not run.
  NfsResult<> change_file(const NfsCall& call, const NfsFileRef& file, Observed& observed,
                          const std::function<NfsResult<>(const struct stat& before)>& change);
  // Nothing is found in a directory that is no more.
  NfsStatus or_stale(NfsStatus status, const NfsFile& directory);
  NfsResult<> permit(const NfsCall& call, const NfsFile& file, int mode);
  bool owns(const NfsCall& call, const struct stat& attributes) const;
  // As for an open file: its owner may, whatever the mode is now.
  NfsResult<> permit_data(const NfsCall& call, const NfsFile& file, int mode);
  bool is_known_to_permit_data(const NfsCall& call, const NfsFile& file, const struct stat& attributes, int mode);
  NfsResult<> sync_names(const NfsCall& call, const NfsFile& directory);
  void fail(NfsCall& call, NfsProcedure procedure, NfsStatus status);
  static void succeed(NfsCall& call) { call.reply.u32(static_cast<uint32_t>(NfsStatus::ok)); }
  void write_wcc(NfsCall& call, const Observed& observed) { sluice::write_wcc(call.reply, observed, fsid_); }
  void write_post(NfsCall& call, const std::optional<struct stat>& attributes) {
    write_post_attributes(call.reply, attributes, fsid_);
  }

  // MOUNT.
  void mount(NfsCall& call);
  void dump(NfsCall& call);
  void unmount(NfsCall& call);
  void unmount_all(NfsCall& call);
  void exports(NfsCall& call);
  NfsResult<NfsFileRef> go_down(std::string_view path);

  Store& store_;
  const NfsHandles handles_;
  const uint64_t fsid_;
  const uid_t own_user_ = ::geteuid();  // the gateway's
  const Clock& clock_;
  NfsFileTable files_;
  static constexpr size_t kListedEntriesMax = 65536;
  NfsListingCache listings_;
  std::atomic<uint64_t> write_verifier_{0};
  std::atomic<uint64_t> writes_{0};
  std::atomic<uint64_t> write_bytes_{0};

  struct MountEntry {  // for DUMP only: it says nothing of who may use handles
    PeerAddress client;
    std::string directory;
    bool operator==(const MountEntry&) const = default;
  };
  static constexpr size_t kMountEntriesMax = 1024;
  Mutex mounts_mutex_;  // leaf
  std::vector<MountEntry> mounts_ GUARDED_BY(mounts_mutex_);
};

}  // namespace sluice

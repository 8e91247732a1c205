#include "net/nfs/service.h"

#include <sodium.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "cache/log.h"

namespace sluice {

NfsService::NfsService(Store* store, const NfsExportKey& key, NfsFileTableOptions files)
    : store_(*store),
      handles_(key),
      fsid_(key.export_id),
      clock_(*files.clock),
      files_(store,
             [&] {
               files.on_lost = [this] { renew_verifier(); };
               return std::move(files);
             }()),
      listings_(store, kListedEntriesMax, &clock_) {
  renew_verifier();
}

void NfsService::stop() {
  listings_.clear();
  files_.clear();
}

NfsService::Handler NfsService::handler_of(NfsProcedure procedure) {
  switch (procedure) {
    case NfsProcedure::getattr: return &NfsService::getattr;
    case NfsProcedure::setattr: return &NfsService::setattr;
    case NfsProcedure::lookup: return &NfsService::lookup;
    case NfsProcedure::access: return &NfsService::access;
    case NfsProcedure::readlink: return &NfsService::readlink;
    case NfsProcedure::write: return &NfsService::write;
    case NfsProcedure::create: return &NfsService::create;
    case NfsProcedure::mkdir: return &NfsService::mkdir;
    case NfsProcedure::symlink: return &NfsService::symlink;
    case NfsProcedure::mknod: return &NfsService::mknod;
    case NfsProcedure::remove: return &NfsService::remove;
    case NfsProcedure::rmdir: return &NfsService::rmdir;
    case NfsProcedure::rename: return &NfsService::rename;
    case NfsProcedure::link: return &NfsService::link;
    case NfsProcedure::readdir: return &NfsService::readdir;
    case NfsProcedure::readdirplus: return &NfsService::readdirplus;
    case NfsProcedure::fsstat: return &NfsService::fsstat;
    case NfsProcedure::fsinfo: return &NfsService::fsinfo;
    case NfsProcedure::pathconf: return &NfsService::pathconf;
    case NfsProcedure::commit: return &NfsService::commit;
    case NfsProcedure::null:
    case NfsProcedure::read: break;
  }
  return nullptr;
}

bool NfsService::run(NfsProcedure procedure, NfsCall& call) {
  const Handler handler = handler_of(procedure);
  if (handler == nullptr) return true;
  const size_t begin = call.reply.size();
  if (call.options == nullptr) {
    write_failure(call.reply, procedure, NfsStatus::acces);
    return true;
  }
  (this->*handler)(call);
  if (call.arguments.ok()) return true;
  call.reply.truncate(begin);
  return false;
}

void NfsService::fail(NfsCall& call, NfsProcedure procedure, NfsStatus status) {
  write_failure(call.reply, procedure, status);
}

NfsResult<NfsFileRef> NfsService::file_of(NfsCall& call, std::string_view handle) {
  if (!call.arguments.ok()) return nfs_fail(NfsStatus::inval);  // garbage: no reply is made of it
  if (NfsFileRef known = files_.find(handle)) return known;
  const NfsResult<std::string_view> store_handle = handles_.unseal(handle);
  if (!store_handle) return tl::unexpected(store_handle.error());
  const auto entry =
      store_handle->empty() ? store_.lookup(kRootInode, ".") : store_.find_persistent(std::string(*store_handle));
  // What cannot be reached may be there still.
  if (!entry) return nfs_fail(entry.error().number == ENOENT ? NfsStatus::stale : nfs_status_of(entry.error().number));
  return files_.insert(std::string(handle), entry->number);
}

// Takes over the entry's reference.
NfsResult<NfsFileRef> NfsService::file_of_entry(const Entry& entry) {
  const auto store_handle =
      entry.number == kRootInode ? Result<std::string>("") : store_.persistent_handle(entry.number);
  if (store_handle) return files_.insert(handles_.seal(*store_handle), entry.number);
  store_.forget(entry.number, 1);
  return nfs_fail(nfs_status_of(store_handle.error().number));
}

NfsResult<> NfsService::may_change(const NfsCall& call) {
  if (call.options->read_only) return nfs_fail(NfsStatus::rofs);
  return {};
}

// The backing answers for a file without a name as long as a descriptor is kept somewhere; a client must not see that.
NfsResult<struct stat> NfsService::ask_attributes(const NfsFileRef& file) {
  const auto attributes = store_.getattr(file->number());
  if (attributes && attributes->values.st_nlink > 0) return attributes->values;
  const int error = attributes ? ESTALE : attributes.error().number;
  if (error != ESTALE && error != ENOENT) return nfs_fail(nfs_status_of(error));  // it may be there still
  files_.erase(file);
  return nfs_fail(NfsStatus::stale);
}

std::optional<struct stat> NfsService::attributes_of(const NfsFile& file) {
  const auto attributes = store_.getattr(file.number());
  return attributes ? std::optional(attributes->values) : std::nullopt;
}

bool NfsService::is_gone(const NfsFileRef& file) {
  const auto now = store_.statx(file->number());
  const bool gone = now ? now->stx_nlink == 0 : now.error().number == ESTALE || now.error().number == ENOENT;
  if (gone) files_.erase(file);
  return gone;
}

Observed NfsService::unchanged(const NfsResult<NfsFileRef>& file) {
  const auto attributes = file ? ask_attributes(*file) : nfs_fail(file.error());
  return attributes ? Observed{*attributes, *attributes} : Observed{};
}

NfsResult<> NfsService::change_file(const NfsCall& call, const NfsFileRef& file, Observed& observed,
                                    const std::function<NfsResult<>(const struct stat& before)>& change) {
  const InodeNumber number = file->number();
  NfsResult<> changed = may_change(call);
  store_.observe(
      std::span(&number, 1),
      [&] {
        if (!changed) return;
        if (observed.before && observed.before->st_nlink > 0) {
          changed = change(*observed.before);
          return;
        }
        const auto attributes = ask_attributes(file);
        changed = attributes ? change(*attributes) : nfs_fail(attributes.error());
      },
      std::span(&observed, 1));
  return changed;
}

NfsStatus NfsService::or_stale(NfsStatus status, const NfsFile& directory) {
  if (status != NfsStatus::noent) return status;
  const auto attributes = attributes_of(directory);
  return attributes && attributes->st_nlink > 0 ? status : NfsStatus::stale;
}

NfsResult<> NfsService::permit(const NfsCall& call, const NfsFile& file, int mode) {
  const auto permitted = store_.access(*call.caller, file.number(), mode);
  if (!permitted) return nfs_fail(nfs_status_of(permitted.error().number));
  return {};
}

// Who is not root cannot act for others: what a client's user makes is the gateway's.
bool NfsService::owns(const NfsCall& call, const struct stat& attributes) const {
  return attributes.st_uid == (own_user_ == 0 ? call.caller->uid : own_user_);
}

// A program opens a file once and may then lose the right to it, or makes it with a mode that gives none; and to run a
// program it need only be executable.
NfsResult<> NfsService::permit_data(const NfsCall& call, const NfsFile& file, int mode) {
  auto permitted = permit(call, file, mode);
  if (permitted || permitted.error() != NfsStatus::acces) return permitted;
  const auto attributes = attributes_of(file);
  if (attributes && S_ISREG(attributes->st_mode) && owns(call, *attributes)) return {};
  return mode == R_OK ? permit(call, file, X_OK) : permitted;
}

bool NfsService::is_known_to_permit_data(const NfsCall& call, const NfsFile& file, const struct stat& attributes,
                                         int mode) {
  return owns(call, attributes) || store_.is_known_to_permit(*call.caller, file.number(), mode);
}

NfsResult<> NfsService::sync_names(const NfsCall& call, const NfsFile& directory) {
  if (!call.options->sync) return {};
  const auto synced = store_.sync(directory.number());
  if (!synced) return nfs_fail(nfs_status_of(synced.error().number));
  return {};
}

// Random, so that none is ever given twice.
void NfsService::renew_verifier() {
  uint64_t verifier;
  ::randombytes_buf(&verifier, sizeof verifier);
  write_verifier_ = verifier;
}

}  // namespace sluice

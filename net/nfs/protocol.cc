#include "net/nfs/protocol.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>

namespace sluice {
namespace {

enum class FileType : uint32_t { regular = 1, directory, block, character, link, socket, fifo };

FileType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return FileType::directory;
    case S_IFBLK: return FileType::block;
    case S_IFCHR: return FileType::character;
    case S_IFLNK: return FileType::link;
    case S_IFSOCK: return FileType::socket;
    case S_IFIFO: return FileType::fifo;
    default: return FileType::regular;
  }
}

// Seconds have 32 bits without a sign, 1970 to 2106; what is outside becomes the nearer end.
void write_time(XdrWriter& reply, const timespec& time) {
  const int64_t seconds = std::clamp<int64_t>(time.tv_sec, 0, UINT32_MAX);
  reply.u32(static_cast<uint32_t>(seconds));
  reply.u32(seconds == time.tv_sec ? static_cast<uint32_t>(time.tv_nsec) : 0);
}

std::optional<timespec> read_set_time(XdrReader& arguments) {
  switch (arguments.choice(3)) {
    case 1: return timespec{.tv_sec = 0, .tv_nsec = UTIME_NOW};
    case 2: return read_time(arguments);
    default: return std::nullopt;
  }
}

// How many words of "nothing is known" follow the status.
uint32_t failure_words(NfsProcedure procedure) {
  switch (procedure) {
    case NfsProcedure::null:
    case NfsProcedure::getattr: return 0;
    case NfsProcedure::lookup:
    case NfsProcedure::access:
    case NfsProcedure::readlink:
    case NfsProcedure::read:
    case NfsProcedure::readdir:
    case NfsProcedure::readdirplus:
    case NfsProcedure::fsstat:
    case NfsProcedure::fsinfo:
    case NfsProcedure::pathconf: return 1;
    case NfsProcedure::setattr:
    case NfsProcedure::write:
    case NfsProcedure::create:
    case NfsProcedure::mkdir:
    case NfsProcedure::symlink:
    case NfsProcedure::mknod:
    case NfsProcedure::remove:
    case NfsProcedure::rmdir:
    case NfsProcedure::commit: return 2;
    case NfsProcedure::link: return 3;
    case NfsProcedure::rename: return 4;
  }
  return 0;
}

}  // namespace

NfsStatus nfs_status_of(int error) {
  switch (error) {
    case EPERM: return NfsStatus::perm;
    case ENOENT: return NfsStatus::noent;
    case ENXIO: return NfsStatus::nxio;
    case EACCES:
    case ETXTBSY:
    case EBUSY: return NfsStatus::acces;  // a mountpoint of the gateway's machine: waiting does not help
    case EEXIST: return NfsStatus::exist;
    case EXDEV: return NfsStatus::xdev;
    case ENODEV: return NfsStatus::nodev;
    case ENOTDIR: return NfsStatus::notdir;
    case EISDIR: return NfsStatus::isdir;
    case EINVAL:
    case ELOOP:
    case EOVERFLOW: return NfsStatus::inval;
    case EFBIG: return NfsStatus::fbig;
    case ENOSPC: return NfsStatus::nospc;
    case EROFS: return NfsStatus::rofs;
    case EMLINK: return NfsStatus::mlink;
    case ENAMETOOLONG: return NfsStatus::nametoolong;
    case ENOTEMPTY: return NfsStatus::notempty;
    case EDQUOT: return NfsStatus::dquot;
    case ESTALE: return NfsStatus::stale;
    case EOPNOTSUPP:
    case ENOSYS: return NfsStatus::notsupp;
    // The client waits and tries again.
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ETIMEDOUT: return NfsStatus::jukebox;
    default: return NfsStatus::io;
  }
}

void write_attributes(XdrWriter& reply, const struct stat& attributes, uint64_t fsid) {
  reply.u32(static_cast<uint32_t>(type_of(attributes.st_mode)));
  reply.u32(attributes.st_mode & 07777);
  reply.u32(static_cast<uint32_t>(attributes.st_nlink));
  reply.u32(attributes.st_uid);
  reply.u32(attributes.st_gid);
  reply.u64(static_cast<uint64_t>(attributes.st_size));
  reply.u64(static_cast<uint64_t>(attributes.st_blocks) * 512);
  reply.u32(major(attributes.st_rdev));
  reply.u32(minor(attributes.st_rdev));
  reply.u64(fsid);
  reply.u64(attributes.st_ino);
  write_time(reply, attributes.st_atim);
  write_time(reply, attributes.st_mtim);
  write_time(reply, attributes.st_ctim);
}

void write_post_attributes(XdrWriter& reply, const std::optional<struct stat>& attributes, uint64_t fsid) {
  const bool is_there = attributes && attributes->st_nlink > 0;
  reply.boolean(is_there);
  if (is_there) write_attributes(reply, *attributes, fsid);
}

void write_wcc(XdrWriter& reply, const Observed& observed, uint64_t fsid) {
  const bool was_there = observed.before && observed.before->st_nlink > 0;
  reply.boolean(was_there);
  if (was_there) {
    reply.u64(static_cast<uint64_t>(observed.before->st_size));
    write_time(reply, observed.before->st_mtim);
    write_time(reply, observed.before->st_ctim);
  }
  write_post_attributes(reply, observed.after, fsid);
}

void write_failure(XdrWriter& reply, NfsProcedure procedure, NfsStatus status) {
  reply.u32(static_cast<uint32_t>(status));
  for (uint32_t words = failure_words(procedure); words > 0; --words) reply.boolean(false);
}

struct timespec read_time(XdrReader& arguments) {
  // What is no time must stay none: utimensat(2) has meanings of its own for some.
  constexpr uint32_t kNanosecondsEnd = 1'000'000'000;
  timespec time{};
  time.tv_sec = arguments.u32();
  time.tv_nsec = std::min(arguments.u32(), kNanosecondsEnd);
  return time;
}

SetAttributes read_set_attributes(XdrReader& arguments) {
  SetAttributes changes;
  if (arguments.boolean()) changes.mode = arguments.u32() & 07777;
  if (arguments.boolean()) changes.uid = arguments.u32();
  if (arguments.boolean()) changes.gid = arguments.u32();
  if (arguments.boolean()) changes.size = arguments.u64();
  changes.atime = read_set_time(arguments);
  changes.mtime = read_set_time(arguments);
  return changes;
}

}  // namespace sluice

// NfsService over a small tree in memory: what clients are told of losses, and what the server keeps.
#include "net/nfs/service.h"

#include "tests/net/fake_tree.h"
#include "tests/support/catch.h"
#include "tests/support/manual_clock.h"

namespace sluice {
namespace {

struct Place {
  FakeTree tree;
  ManualClock clock;
  NfsClientOptions options{.squash = NfsSquash::none};
  NfsExportKey key = NfsExportKey::random();
  NfsService service{&tree, key, {.open_max = 4, .clock = &clock, .on_lost = nullptr}};
  NfsHandles handles{key};

  ~Place() { service.stop(); }
  std::string handle(InodeNumber number) { return handles.seal(*tree.persistent_handle(number)); }
  std::string run(NfsProcedure procedure, XdrWriter arguments) {
    NfsCall call(arguments.bytes(), &options);
    call.caller = std::make_shared<const Caller>();
    REQUIRE(service.run(procedure, call));
    return call.reply.take();
  }
  std::string write(InodeNumber number, uint32_t stable = 0) {
    XdrWriter arguments;
    arguments.opaque(handle(number)).u64(0).u32(4).u32(stable).opaque("data");
    return run(NfsProcedure::write, std::move(arguments));
  }
  std::string commit(InodeNumber number) {
    XdrWriter arguments;
    arguments.opaque(handle(number)).u64(0).u32(0);
    return run(NfsProcedure::commit, std::move(arguments));
  }
};

uint32_t status_of(const std::string& reply) {
  return XdrReader(reply).u32();
}
uint64_t verifier_of(const std::string& reply) {
  REQUIRE(status_of(reply) == 0);
  XdrReader reader(std::string_view(reply).substr(reply.size() - 8));
  return reader.u64();
}

}  // namespace

TEST_CASE("nfs service: COMMIT tells an error once, and the verifier is another one for all", "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  const InodeNumber other = place.tree.make(kRootInode, "other", S_IFREG | 0644);
  const uint64_t before = verifier_of(place.write(file));
  CHECK(verifier_of(place.write(other)) == before);
  place.tree.fsync_error = EIO;
  CHECK(status_of(place.commit(file)) == static_cast<uint32_t>(NfsStatus::io));
  const uint64_t after = verifier_of(place.commit(other));
  CHECK(after != before);
  CHECK(verifier_of(place.commit(file)) == after);
  CHECK(verifier_of(place.write(file)) == after);
}

TEST_CASE("nfs service: a WRITE under way while data are lost is told the verifier from before", "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  place.write(file);
  place.tree.before_write = [&] {
    place.tree.fsync_error = EIO;
    place.tree.before_write = nullptr;
    CHECK(status_of(place.commit(file)) == static_cast<uint32_t>(NfsStatus::io));
  };
  const uint64_t told = verifier_of(place.write(file));
  CHECK(verifier_of(place.commit(file)) != told);
}

TEST_CASE("nfs service: what was written during an fsync is fsynced before the file is closed", "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  place.tree.before_write = [&] {
    place.tree.before_write = nullptr;
    verifier_of(place.commit(file));
  };
  const uint64_t told = verifier_of(place.write(file));
  place.clock.advance(std::chrono::seconds(10));
  place.tree.fsync_error = EIO;
  place.service.files().close_idle();
  CHECK(place.service.files().open_count() == 0);
  CHECK(verifier_of(place.commit(file)) != told);
}

TEST_CASE("nfs service: a file that is being written to is not closed", "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  place.tree.before_write = [&] {
    place.tree.before_write = nullptr;
    place.clock.advance(std::chrono::seconds(10));
    place.service.files().close_idle();
    for (int i = 0; i < 10; ++i) place.write(place.tree.make(kRootInode, "file" + std::to_string(i), S_IFREG | 0644));
  };
  place.write(file);
  CHECK(place.service.files().open_count() <= 5);
  const uint64_t fsyncs = place.tree.fsyncs;
  place.clock.advance(std::chrono::seconds(10));
  place.service.files().close_idle();
  CHECK(place.service.files().open_count() == 0);
  CHECK(place.tree.fsyncs > fsyncs);
}

TEST_CASE("nfs service: WRITE counts the bytes that it wrote", "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  verifier_of(place.write(file));
  CHECK(place.service.writes() == 1);
  CHECK(place.service.write_bytes() == 4);
  place.tree.write_error = EIO;
  CHECK(status_of(place.write(file)) == static_cast<uint32_t>(NfsStatus::io));
  CHECK(place.service.writes() == 2);
  CHECK(place.service.write_bytes() == 4);
}

TEST_CASE("nfs service: nothing is left of what clients used", "[net][nfs]") {
  Place place;
  for (int i = 0; i < 10; ++i) place.write(place.tree.make(kRootInode, "file" + std::to_string(i), S_IFREG | 0644));
  CHECK(place.service.files().open_count() <= 4);
  CHECK(place.tree.references() > 0);
  place.service.stop();
  CHECK(place.tree.references() == 0);
  CHECK(place.tree.open_files == 0);
}

TEST_CASE("nfs service: what is removed is held by nobody", "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  place.write(file);
  place.tree.knows = true;  // so that the listing is kept
  XdrWriter list;
  list.opaque(place.handles.seal("")).u64(0).u64(0).u32(4096).u32(4096);
  CHECK(status_of(place.run(NfsProcedure::readdirplus, std::move(list))) == 0);
  CHECK(place.tree.references_of(file) > 0);
  const uint64_t fsyncs = place.tree.fsyncs;
  XdrWriter arguments;
  arguments.opaque(place.handles.seal("")).opaque("file");
  CHECK(status_of(place.run(NfsProcedure::remove, std::move(arguments))) == 0);
  CHECK(place.tree.references_of(file) == 0);
  CHECK(place.tree.open_files == 0);
  CHECK(place.tree.fsyncs == fsyncs);
}

TEST_CASE("nfs service: nothing is written to a file that others removed, and it is held no longer", "[net][nfs]") {
  Place place;
  const auto stale = static_cast<uint32_t>(NfsStatus::stale);
  for (const NfsProcedure procedure : {NfsProcedure::write, NfsProcedure::commit, NfsProcedure::setattr}) {
    CAPTURE(static_cast<uint32_t>(procedure));
    const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
    verifier_of(place.write(file));
    CHECK(place.tree.open_files == 1);
    REQUIRE(place.tree.unlink(Caller{}, kRootInode, "file"));
    XdrWriter changes;
    changes.opaque(place.handle(file)).u32(1).u32(0600).u32(0).u32(0).u32(0).u32(0).u32(0).u32(0);
    const std::string reply = procedure == NfsProcedure::write    ? place.write(file, 2)
                              : procedure == NfsProcedure::commit ? place.commit(file)
                                                                  : place.run(procedure, std::move(changes));
    CHECK(status_of(reply) == stale);
    CHECK(reply.substr(4) == std::string(8, '\0'));  // nothing of its attributes
    CHECK(place.tree.open_files == 0);
    CHECK(place.tree.references_of(file) == 0);
  }
}

TEST_CASE("nfs service: a file that CREATE cuts is on the disk before the answer, and its data count as changed",
          "[net][nfs]") {
  Place place;
  const InodeNumber file = place.tree.make(kRootInode, "file", S_IFREG | 0644);
  place.write(file);
  XdrWriter arguments;
  arguments.opaque(place.handles.seal("")).opaque("file").u32(0);
  arguments.u32(0).u32(0).u32(0).u32(1).u64(0).u32(0).u32(0);  // its size
  CHECK(status_of(place.run(NfsProcedure::create, std::move(arguments))) == 0);
  CHECK(place.tree.getattr(file)->values.st_size == 0);
  CHECK(place.tree.synced == std::vector<InodeNumber>{file, kRootInode});
  // It counts as a change of the file's data: an error that comes with them is heard of.
  place.commit(file);
  XdrWriter again;
  again.opaque(place.handles.seal("")).opaque("file").u32(0);
  again.u32(0).u32(0).u32(0).u32(1).u64(5).u32(0).u32(0);
  CHECK(status_of(place.run(NfsProcedure::create, std::move(again))) == 0);
  const uint64_t fsyncs = place.tree.fsyncs;
  place.clock.advance(std::chrono::seconds(10));
  place.service.files().close_idle();
  CHECK(place.tree.fsyncs == fsyncs + 1);
}

TEST_CASE("nfs service: new attributes of files of every type are on the disk before the answer", "[net][nfs]") {
  Place place;
  for (const mode_t type : {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK}) {
    CAPTURE(type);
    const InodeNumber file = place.tree.make(kRootInode, std::to_string(type), type | 0644);
    const bool can_be_opened = type == S_IFREG || type == S_IFDIR;
    const size_t before = place.tree.synced.size();
    const uint64_t syncs_before = place.tree.file_system_syncs;
    XdrWriter changes;
    changes.opaque(place.handle(file)).u32(0).u32(1).u32(7).u32(0).u32(0).u32(0).u32(0).u32(0);  // its owner
    CHECK(status_of(place.run(NfsProcedure::setattr, std::move(changes))) == 0);
    CHECK(place.tree.synced.size() == before + (can_be_opened ? 1 : 0));
    CHECK(place.tree.file_system_syncs == syncs_before + (can_be_opened ? 0 : 1));
  }
}

TEST_CASE("nfs service: only clients that may use the export hear of who mounted it", "[net][nfs]") {
  Place place;
  const auto dump = [&](const NfsClientOptions* options) {
    NfsCall call("", options);
    REQUIRE(place.service.run(MountProcedure::dump, call));
    return call.reply.take();
  };
  XdrWriter path;
  path.opaque("/");
  NfsCall call(path.bytes(), &place.options);
  REQUIRE(place.service.run(MountProcedure::mount, call));
  CHECK(dump(&place.options).size() > 4);
  CHECK(dump(nullptr) == std::string(4, '\0'));
}

TEST_CASE("nfs listing cache: long listings of names alone count by their bytes", "[net][nfs]") {
  FakeTree tree;
  ManualClock clock;
  NfsListingCache listings(&tree, 1000, &clock);
  for (uint64_t i = 0; i < 100; ++i) {
    NfsListing listing;
    listing.seen.push_back(tree.remember(kRootInode));
    listing.bytes = std::string(100'000, 'x');
    listing.good_until = std::chrono::nanoseconds::max();
    listings.insert({.directory = kRootInode, .cookie = i}, std::move(listing));
    CHECK(listings.entries() <= 1000);
  }
  CHECK(listings.find({.directory = kRootInode, .cookie = 99}) != nullptr);
  CHECK(listings.find({.directory = kRootInode, .cookie = 90}) == nullptr);
}

}  // namespace sluice

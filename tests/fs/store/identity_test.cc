// Acting as the caller: what the kernel gives a user on the backing, that user gets here.
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <thread>

#include "fs/store/identity.h"
#include "tests/fs/store/store_fixture.h"

namespace sluice {
namespace {

constexpr uid_t kAlice = 1000;
constexpr uid_t kBob = 1001;
constexpr gid_t kTeam = 2000;

bool is_root() {
  return ::geteuid() == 0;
}

// A default ACL of user::rwx user:1001:rwx group::r-x mask::rwx other::---, as setfacl writes it.
void set_default_acl(const std::string& path) {
  struct Acl {
    uint32_t version = 2;
    struct {
      uint16_t tag, permissions;
      uint32_t id;
    } entries[5] = {{0x01, 7, ~0u}, {0x02, 7, kBob}, {0x04, 5, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}};
  } const acl;
  REQUIRE(::setxattr(path.c_str(), "system.posix_acl_default", &acl, sizeof(acl), 0) == 0);
}

uint64_t effective_capabilities() {
  std::ifstream status("/proc/thread-self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) return std::stoull(line.substr(7), nullptr, 16);
  }
  return 0;
}

constexpr uint64_t kSetIdCapability = uint64_t{1} << 4;  // CAP_FSETID

}  // namespace

TEST_CASE("store: what a user creates belongs to the user", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  const InodeNumber folder = must(store->mkdir(user(kAlice), kRootInode, "folder", 0775)).number;
  must(store->mknod(user(kAlice), folder, "file", S_IFREG | 0666, 0));
  must(store->symlink(user(kAlice), folder, "link", "file"));
  const auto created = must(store->create(user(kAlice, 027), folder, "created", 0666, O_RDWR));
  for (const char* name : {"folder", "folder/file", "folder/link", "folder/created"}) {
    INFO(name);
    CHECK(stat_of(store / name).st_uid == kAlice);
    CHECK(stat_of(store / name).st_gid == kAlice);
  }
  CHECK((stat_of(store / "folder").st_mode & 07777) == 0755);
  CHECK((stat_of(store / "folder/created").st_mode & 07777) == 0640);
  CHECK(outcome(store->mkdir(user(kBob), folder, "other", 0777)) == "EACCES");
  CHECK(outcome(store->unlink(user(kBob), folder, "file")) == "EACCES");
  must(store->unlink(user(kAlice), folder, "file"));
}

TEST_CASE("store: the thread is the gateway again after every operation", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  must(store->mkdir(user(kAlice), kRootInode, "folder", 0700));
  CHECK(::syscall(SYS_setfsuid, -1) == 0);
  CHECK(outcome(store->mkdir(user(kBob), store.number("folder"), "x", 0700)) == "EACCES");
  CHECK(::syscall(SYS_setfsuid, -1) == 0);
}

TEST_CASE("store: in a set-group-id directory the group is inherited", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  ::mkdir((store / "team").c_str(), 0777);
  REQUIRE(::chown((store / "team").c_str(), 0, kTeam) == 0);
  ::chmod((store / "team").c_str(), 02777);
  const InodeNumber team = store.number("team");
  must(store->mknod(user(kAlice), team, "file", S_IFREG | 0644, 0));
  const auto folder = must(store->mkdir(user(kAlice), team, "folder", 0755));
  CHECK(stat_of(store / "team/file").st_gid == kTeam);
  CHECK(stat_of(store / "team/file").st_uid == kAlice);
  CHECK(folder.attributes.st_gid == kTeam);
  CHECK((folder.attributes.st_mode & S_ISGID) != 0);
  // Not a member of the group: the bit is lost on an executable, as on the backing.
  must(store->mknod(user(kAlice), team, "program", S_IFREG | S_ISGID | 0755, 0));
  CHECK((stat_of(store / "team/program").st_mode & S_ISGID) == 0);
  Caller member = user(kAlice);
  member.groups = {kTeam};
  must(store->mknod(member, team, "member", S_IFREG | S_ISGID | 0755, 0));
  CHECK((stat_of(store / "team/member").st_mode & S_ISGID) != 0);
}

TEST_CASE("store: in a sticky directory users cannot remove what others own", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  ::mkdir((store / "tmp").c_str(), 0777);
  ::chmod((store / "tmp").c_str(), 01777);
  const InodeNumber tmp = store.number("tmp");
  must(store->mknod(user(kAlice), tmp, "hers", S_IFREG | 0666, 0));
  CHECK(outcome(store->unlink(user(kBob), tmp, "hers")) == "EPERM");
  CHECK(outcome(store->rename(user(kBob), tmp, "hers", tmp, "mine", 0)) == "EPERM");
  must(store->rename(user(kAlice), tmp, "hers", tmp, "still hers", 0));
  must(store->unlink(kRootUser, tmp, "still hers"));
}

TEST_CASE("store: a default ACL takes the place of the umask", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  ::mkdir((store / "plain").c_str(), 0777);
  ::mkdir((store / "acl").c_str(), 0777);
  ::chmod((store / "acl").c_str(), 0777);
  ::chmod((store / "plain").c_str(), 0777);
  set_default_acl(store / "acl");
  must(store->mknod(user(kAlice, 077), store.number("plain"), "f", S_IFREG | 0666, 0));
  must(store->mknod(user(kAlice, 077), store.number("acl"), "f", S_IFREG | 0666, 0));
  CHECK((stat_of(store / "plain/f").st_mode & 0777) == 0600);
  CHECK((stat_of(store / "acl/f").st_mode & 0777) == 0660);
  CHECK(must(store->open_file(user(kBob), store.number("f", store.number("acl")), O_RDWR))->flags() == O_RDWR);
  CHECK(outcome(store->open_file(user(1002), store.number("f", store.number("acl")), O_RDONLY)) == "EACCES");
}

TEST_CASE("store: one caller's umask is not another's, nor the process's", "[store][identity]") {
  StoreFixture store;
  const mode_t before = ::umask(022);
  std::thread([&] {  // its umask is its own from the first create on
    must(store->mknod({::geteuid(), ::getegid(), {}, 0}, kRootInode, "open", S_IFREG | 0666, 0));
    must(store->mknod({::geteuid(), ::getegid(), {}, 077}, kRootInode, "closed", S_IFREG | 0666, 0));
  })
      .join();
  CHECK(::umask(before) == 022);
  CHECK((stat_of(store / "open").st_mode & 0777) == 0666);
  CHECK((stat_of(store / "closed").st_mode & 0777) == 0600);
}

TEST_CASE("store: opening asks what the caller may do", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  write_file(store / "secret", "secret");
  ::chmod((store / "secret").c_str(), 0640);
  REQUIRE(::chown((store / "secret").c_str(), kAlice, kTeam) == 0);
  const InodeNumber secret = store.number("secret");
  Caller member = user(kBob);
  member.groups = {5, kTeam, 7};
  const auto held_open = must(store->open_file(kRootUser, secret, O_RDWR));  // the data's descriptors are there already
  CHECK(outcome(store->open_file(user(kBob), secret, O_RDONLY)) == "EACCES");
  CHECK(outcome(store->open_file(member, secret, O_RDONLY)) == "OK");
  CHECK(outcome(store->open_file(member, secret, O_RDWR)) == "EACCES");
  CHECK(outcome(store->open_file(member, secret, O_RDONLY | O_TRUNC)) == "EACCES");
  CHECK(outcome(store->open_file(user(kAlice), secret, O_WRONLY)) == "OK");
  CHECK(outcome(store->open_file(user(kBob), secret, O_RDONLY)) == "EACCES");  // the member's groups are gone again
  CHECK(outcome(store->access(user(kBob), secret, R_OK)) == "EACCES");
  CHECK(outcome(store->access(member, secret, R_OK)) == "OK");
  CHECK(outcome(store->access(member, secret, X_OK)) == "EACCES");
  CHECK(outcome(store->access(user(kBob), secret, F_OK)) == "OK");
  SetAttributes shorter;
  shorter.size = 1;
  CHECK(outcome(store->setattr(member, secret, shorter)) == "EACCES");
  CHECK(outcome(store->open_path(user(kBob), "secret")) == "EACCES");
  CHECK(outcome(store->open_path(member, "secret")) == "OK");
}

TEST_CASE("store: a file is open for writing to its creator whatever its mode", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  auto created = must(store->create(user(kAlice), kRootInode, "read-only", 0444, O_RDWR | O_EXCL));
  CHECK(must(write_all(*created.file, 0, "written")) == 7);
  SetAttributes cut;
  cut.size = 3;
  CHECK(outcome(store->setattr(user(kAlice), created.entry.number, cut)) == "EACCES");
  CHECK(outcome(created.file->data().truncate(3, SetIdBits::clear)) == "OK");
  CHECK(must(store->getattr(created.entry.number)).values.st_size == 3);
  CHECK(read_file(store / "read-only") == "wri");
  CHECK((stat_of(store / "read-only").st_mode & 07777) == 0444);
  CHECK(outcome(store->open_file(user(kAlice), created.entry.number, O_WRONLY)) == "EACCES");
}

TEST_CASE("store: attributes change as the caller may", "[store][identity]") {
  if (!is_root()) return;
  StoreFixture store;
  write_file(store / "f");
  REQUIRE(::chown((store / "f").c_str(), kAlice, kAlice) == 0);
  const InodeNumber f = store.number("f");
  SetAttributes mode;
  mode.mode = 0600;
  CHECK(outcome(store->setattr(user(kBob), f, mode)) == "EPERM");
  CHECK((must(store->setattr(user(kAlice), f, mode)).values.st_mode & 07777) == 0600);
  SetAttributes owner;
  owner.uid = kBob;
  CHECK(outcome(store->setattr(user(kAlice), f, owner)) == "EPERM");
  SetAttributes group;
  group.gid = kTeam;
  CHECK(outcome(store->setattr(user(kAlice), f, group)) == "EPERM");
  Caller member = user(kAlice);
  member.groups = {kTeam};
  CHECK(must(store->setattr(member, f, group)).values.st_gid == kTeam);
  SetAttributes times;
  times.atime = timespec{1, 2};
  times.mtime = timespec{3, 4};
  CHECK(outcome(store->setattr(user(kBob), f, times)) == "EPERM");
  const struct stat set = must(store->setattr(user(kAlice), f, times)).values;
  CHECK(set.st_atim.tv_sec == 1);
  CHECK(set.st_mtim.tv_nsec == 4);
  CHECK(outcome(store->setxattr(user(kBob), f, "user.a", "b", 0)) == "EACCES");
  CHECK(outcome(store->setxattr(user(kAlice), f, "user.a", "b", 0)) == "OK");
  CHECK(outcome(store->setxattr(user(kAlice), f, "trusted.a", "b", 0)) == "EPERM");
  CHECK(outcome(store->setxattr(user(kAlice), f, "security.capability", "b", 0)) == "EPERM");
  CHECK(outcome(store->setxattr(kRootUser, f, "trusted.a", "b", 0)) == "OK");
}

TEST_CASE("store: root sets set-id bits although the gateway has dropped the capability", "[store][identity]") {
  if (!is_root()) return;
  CHECK(holds_in_child([] {
    drop_capabilities();
    EXPECT_OR_RETURN((effective_capabilities() & kSetIdCapability) == 0);
    bool well = false;
    std::thread([&well] {
      well = [] {
        StoreFixture store;
        EXPECT_OR_RETURN((effective_capabilities() & kSetIdCapability) == 0);
        SetAttributes team;
        team.gid = kTeam;
        write_file(store / "program");
        const InodeNumber program = store.number("program");
        EXPECT_OR_RETURN(store->setattr(kRootUser, program, team));
        SetAttributes set_id;
        set_id.mode = 06755;
        const auto changed = store->setattr(kRootUser, program, set_id);
        EXPECT_OR_RETURN(changed && (changed->values.st_mode & 07777) == 06755);
        const auto created = store->create(kRootUser, kRootInode, "created", 06755, O_RDWR);
        EXPECT_OR_RETURN(created && (created->entry.attributes.st_mode & 07777) == 06755);
        // A user's turn must leave nothing behind: the way back to uid 0 brings dropped capabilities back.
        EXPECT_OR_RETURN(store->mkdir(user(kAlice), kRootInode, "folder", 0755));
        EXPECT_OR_RETURN((effective_capabilities() & kSetIdCapability) == 0);
        EXPECT_OR_RETURN(outcome(write_all(*created->file, 0, "x")) == "OK");
        EXPECT_OR_RETURN((stat_of(store / "created").st_mode & 06000) == 0);
        return true;
      }();
    }).join();
    return well;
  }));
}

TEST_CASE("store: an ordinary user's gateway serves what that user may see", "[store][identity]") {
  if (!is_root()) return;
  TemporaryDirectory directory;
  CHECK(holds_in_child([&] {
    EXPECT_OR_RETURN(::chdir(directory.path().c_str()) == 0);
    EXPECT_OR_RETURN(::setresgid(kAlice, kAlice, kAlice) == 0 && ::setresuid(kAlice, kAlice, kAlice) == 0);
    bool well = false;
    std::thread([&well] {  // a thread that was never root
      well = [] {
        StoreFixture store;
        EXPECT_OR_RETURN(!store->root().is_clone());
        const auto created = store->create(user(kBob), kRootInode, "mine", 0444, O_RDWR);
        EXPECT_OR_RETURN(created);
        EXPECT_OR_RETURN(created->entry.attributes.st_uid == kAlice);
        EXPECT_OR_RETURN((created->entry.attributes.st_mode & 07777) == 0444);
        EXPECT_OR_RETURN(outcome(write_all(*created->file, 0, "x")) == "OK");
        EXPECT_OR_RETURN(outcome(store->open_file(user(kAlice), created->entry.number, O_RDWR)) == "EACCES");
        EXPECT_OR_RETURN(outcome(store->open_file(user(kAlice), created->entry.number, O_RDONLY)) == "OK");
        EXPECT_OR_RETURN(store->rename(user(kAlice), kRootInode, "mine", kRootInode, "renamed", 0));
        EXPECT_OR_RETURN(store->open_path(user(kAlice), "renamed"));
        EXPECT_OR_RETURN(store->unlink(user(kAlice), kRootInode, "renamed"));
        return true;
      }();
    })
        .join();
    return well;
  }));
}

}  // namespace sluice

#include "net/send_path.h"

#include <dirent.h>

#include "tests/net/fake_store.h"
#include "tests/net/loop_thread.h"
#include "tests/support/catch.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

const SendMethod kMethods[] = {SendMethod::automatic, SendMethod::copy, SendMethod::vmsplice, SendMethod::zerocopy};

size_t open_descriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  size_t count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

// One connection: a send path on a loop's thread, its client in the test's.
class Channel final : public SocketHandler, public SendOwner {
 public:
  Channel(LoopThread* thread, SendContext* context, int client_receive_buffer = 0)
      : thread_(thread), pair_(tcp_pair(client_receive_buffer)) {
    thread_->call([&] {
      id_ = thread_->loop().add(pair_.server.get(), this);
      SendPath::prepare(pair_.server.get());
      path_ = std::make_unique<SendPath>(context, this, pair_.server.get(), id_);
    });
  }
  ~Channel() { close(); }

  int client() const { return pair_.client.get(); }
  void send(Reply reply) {
    thread_->call([&] { path_->send(std::move(reply)); });
  }
  void send_in_thread(Reply reply) { path_->send(std::move(reply)); }
  void close() {
    if (!pair_.server) return;
    thread_->call([&] {
      path_->close();
      thread_->loop().remove(id_);
      pair_.server.reset();
    });
  }
  void close_client() { pair_.client.reset(); }
  void until_stalled() {
    thread_->until([&] { return path_->waits_for_client(); });
  }
  void until_sent(int count) {
    thread_->until([&] { return sent_ == count; });
  }
  int until_failed() {
    thread_->until([&] { return error_ != 0; });
    return error_;
  }
  int sent() {
    return thread_->call([&] { return sent_; });
  }
  int lost_unsent() {
    return thread_->call([&] { return lost_unsent_; });
  }

 private:
  void on_received(std::string_view) override {}
  void on_receive_end(int) override {}
  void on_writable() override { path_->on_writable(); }
  void on_reply_sent() override { ++sent_; }
  void on_send_failed(int error) override { error_ = error; }
  void on_send_progress() override {}
  void on_send_waits(bool) override {}
  void on_reply_lost(int error, bool begun) override {
    error_ = error;
    lost_unsent_ += !begun;
  }

  LoopThread* const thread_;
  SocketPair pair_;
  SocketId id_;
  std::unique_ptr<SendPath> path_;
  int sent_ = 0;
  int error_ = 0;
  int lost_unsent_ = 0;
};

SendOptions options_for(SendMethod method, uint32_t copy_max_bytes = 32 << 10) {
  return {.method = method, .support = probe_send_methods(), .copy_max_bytes = copy_max_bytes};
}

Reply reply_of(FakeStore& store, const std::string& name, uint64_t offset, uint64_t length) {
  Reply reply;
  reply.head = "head of " + name + "\n";
  reply.file = std::move(store.open_path({}, name)->file);
  reply.offset = offset;
  reply.length = length;
  reply.watch = reply.file->data().watch();
  return reply;
}

// A reply of 30 MiB whose client stopped reading.
struct StalledReply {
  explicit StalledReply(SendMethod method) : context(&thread.loop(), options_for(method)) {
    Reply reply = reply_of(store, "big", 0, size);
    whole = reply.head + store.content("big");
    channel.send(std::move(reply));
    channel.until_stalled();
  }

  static constexpr uint64_t size = 30 << 20;
  FakeStore store{24};
  FakeFile& file = store.add("big", {.size = size});
  LoopThread thread;
  SendContext context;
  Channel channel{&thread, &context};
  std::string whole;  // what the client is to get
};

// All frames are free or cooling: nobody holds a reference any more.
bool nothing_referenced(const Arena& arena) {
  const ArenaStats stats = arena.stats();
  return stats.frames_free + stats.frames_cooling == stats.frames_max;
}

TEST_CASE("send path: every method carries every byte, to clients that stop reading for a while, too", "[net][send]") {
  const uint64_t seed = test_seed();
  for (const LoopBackend backend : {LoopBackend::ring, LoopBackend::epoll}) {
    for (const SendMethod method : kMethods) {
      for (const uint32_t copy_max : {0U, 32U << 10}) {
        CAPTURE(static_cast<int>(backend), static_cast<int>(method), copy_max, seed);
        FakeStore store(24);
        const uint64_t size = (20 << 20) + 12345;
        store.add("big", {.size = size});
        const std::string content = store.content("big");
        LoopThread thread(backend);
        SendContext context(&thread.loop(), options_for(method, copy_max));
        {
          Channel channel(&thread, &context);
          std::mt19937_64 random(seed);
          std::string expected;
          for (int i = 0; i < 5; ++i) {  // queued at once: a client that asks ahead
            const uint64_t offset = i == 0 ? 0 : random() % size;
            const uint64_t length = i == 0 ? size : random() % (size - offset) + 1;
            Reply reply = reply_of(store, "big", offset, length);
            reply.tail = std::string(i % 4, '.');
            expected += reply.head + content.substr(offset, length) + reply.tail;
            channel.send(std::move(reply));
          }
          channel.until_stalled();
          CHECK(channel.sent() < 5);
          CHECK(read_bytes(channel.client(), expected.size()) == expected);
          channel.until_sent(5);
        }
        thread.stop();
        CHECK(store.open_files == 0);
      }
    }
  }
}

TEST_CASE("send path: what is small goes out by copy in one piece, what is large by reference", "[net][send]") {
  FakeStore store;
  store.add("small", {.size = 32 << 10});
  store.add("large", {.size = 256 << 10});
  LoopThread thread;
  SendContext context(&thread.loop(), options_for(SendMethod::automatic));
  Channel channel(&thread, &context);
  Reply small = reply_of(store, "small", 0, 32 << 10);
  const size_t small_size = small.head.size() + (32 << 10);
  channel.send(std::move(small));
  CHECK(read_bytes(channel.client(), small_size).size() == small_size);
  CHECK(context.stats().copy_bytes == small_size);
  CHECK(context.stats().vmsplice_bytes == 0);

  Reply large = reply_of(store, "large", 0, 256 << 10);
  const size_t head_size = large.head.size();
  channel.send(std::move(large));
  CHECK(read_bytes(channel.client(), head_size + (256 << 10)).size() == head_size + (256 << 10));
  if (context.options().support.vmsplice) {
    CHECK(context.stats().copy_bytes == small_size + head_size);
    CHECK(context.stats().vmsplice_bytes == 256 << 10);
  }
}

TEST_CASE("send path: holds no page while a client does not read, except what zerocopy must", "[net][send]") {
  for (const SendMethod method : {SendMethod::copy, SendMethod::vmsplice}) {
    CAPTURE(static_cast<int>(method));
    StalledReply stalled(method);
    stalled.file.pages.reset();  // the cache forgets the file
    CHECK(nothing_referenced(stalled.store.arena()));
  }
}

TEST_CASE("send path: memory that is reused while a client has not read it yet does not change what it reads",
          "[net][send]") {
  for (const SendMethod method : kMethods) {
    CAPTURE(static_cast<int>(method));
    StalledReply stalled(method);
    stalled.file.pages.reset();
    Arena& arena = stalled.store.arena();
    std::vector<FrameRun> runs;  // everything that can be had, overwritten
    arena.allocate(static_cast<uint32_t>(arena.stats().frames_max), runs);
    uint64_t overwritten = 0;
    for (const FrameRun& run : runs) {
      std::fill_n(arena.address(run.first), size_t{run.count} * kPageSize, '!');
      overwritten += run.count;
    }
    CHECK(overwritten > StalledReply::size / kPageSize / 2);
    stalled.channel.close();
    const std::string received = read_bytes(stalled.channel.client(), stalled.whole.size());
    CHECK(received.size() > stalled.whole.size() - StalledReply::size);
    CHECK(received.size() < stalled.whole.size());
    CHECK(stalled.whole.starts_with(received));
    for (const FrameRun& run : runs) arena.release(run);
  }
}

TEST_CASE("send path: a client that disconnects in the middle leaves nothing behind", "[net][send]") {
  for (const LoopBackend backend : {LoopBackend::ring, LoopBackend::epoll}) {
    for (const SendMethod method : kMethods) {
      CAPTURE(static_cast<int>(backend), static_cast<int>(method));
      FakeStore store(24);
      FakeFile& file = store.add("big", {.size = 30 << 20});
      const size_t before = open_descriptors();
      {
        LoopThread thread(backend);
        SendContext context(&thread.loop(), options_for(method));
        for (int i = 0; i < 12; ++i) {  // more than the pool keeps pipes
          Channel channel(&thread, &context);
          channel.send(reply_of(store, "big", 0, 30 << 20));
          channel.until_stalled();
          read_bytes(channel.client(), 10'000);
          channel.close_client();
          CHECK((channel.until_failed() == EPIPE || channel.until_failed() == ECONNRESET));
        }
        thread.stop();
      }
      CHECK(open_descriptors() == before);
      CHECK(store.open_files == 0);
      file.pages.reset();
      CHECK(nothing_referenced(store.arena()));
    }
  }
}

TEST_CASE("send path: a file that changes or shrinks under a reply breaks it off, never mixes", "[net][send]") {
  for (const SendMethod method : kMethods) {
    for (const bool shrink : {false, true}) {
      CAPTURE(static_cast<int>(method), shrink);
      StalledReply stalled(method);
      stalled.thread.call([&] {
        if (shrink) {
          stalled.file.shrunk_to = 1;
        } else {
          stalled.file.generation = 2;
        }
      });
      std::string received;
      std::thread reader([&] { received = read_bytes(stalled.channel.client(), stalled.whole.size()); });
      CHECK(stalled.channel.until_failed() == ESTALE);
      stalled.channel.close();
      reader.join();
      CHECK(received.size() < stalled.whole.size());
      CHECK(stalled.whole.starts_with(received));
    }
  }
}

TEST_CASE("send path: a reply that is lost before any of it was sent makes way for another", "[net][send]") {
  FakeStore store;
  FakeFile& file = store.add("changing", {.size = 100'000});
  LoopThread thread;
  SendContext context(&thread.loop(), options_for(SendMethod::automatic));
  Channel channel(&thread, &context);
  Reply lost = reply_of(store, "changing", 0, 100'000);
  file.generation = 2;
  channel.send(std::move(lost));
  CHECK(channel.until_failed() == ESTALE);
  CHECK(channel.lost_unsent() == 1);
  Reply reply = reply_of(store, "changing", 0, 100'000);
  const std::string whole = reply.head + store.content("changing");
  channel.send(std::move(reply));
  CHECK(read_bytes(channel.client(), whole.size()) == whole);
  channel.close();
}

TEST_CASE("send path: slices that come from the disk's thread are sent when they come", "[net][send]") {
  FakeStore store;
  FakeFile& file = store.add("cold", {.size = 3 << 20});
  file.park_reads = true;
  LoopThread thread;
  SendContext context(&thread.loop(), options_for(SendMethod::automatic));
  Channel channel(&thread, &context);
  Reply reply = reply_of(store, "cold", 100, (3 << 20) - 100);
  const std::string expected = reply.head + store.content("cold", 100);
  channel.send(std::move(reply));
  std::string received;
  std::thread reader([&] { received = read_bytes(channel.client(), expected.size()); });
  while (channel.sent() == 0) store.run_parked();
  reader.join();
  CHECK(received == expected);
}

TEST_CASE("send path: many large replies that begin at once share the turns of the loop, a small one does not wait",
          "[net][send]") {
  constexpr uint64_t size = 4 << 20;
  for (const SendMethod method : kMethods) {
    CAPTURE(static_cast<int>(method));
    FakeStore store(32);
    store.add("large", {.size = size});
    store.add("small", {.size = 64 << 10});
    LoopThread thread;
    SendContext context(&thread.loop(), options_for(method));
    std::vector<std::unique_ptr<Channel>> channels;
    for (int i = 0; i < 20; ++i) channels.push_back(std::make_unique<Channel>(&thread, &context));
    Channel small(&thread, &context);
    const auto total = [&] {
      const SendStats stats = context.stats();
      return stats.copy_bytes + stats.vmsplice_bytes + stats.zerocopy_bytes;
    };
    thread.call([&] {  // in one turn
      for (const auto& channel : channels) channel->send_in_thread(reply_of(store, "large", 0, size));
      CHECK(total() <= SendTurns::kTurnBytes + (1 << 20));
      const uint64_t before = total();
      small.send_in_thread(reply_of(store, "small", 0, 64 << 10));
      if (method != SendMethod::zerocopy) CHECK(total() > before);
    });
    const std::string expected = "head of large\n" + store.content("large");
    for (const auto& channel : channels) REQUIRE(read_bytes(channel->client(), expected.size()) == expected);
    small.until_sent(1);
    for (const auto& channel : channels) channel->until_sent(1);
  }
}

TEST_CASE("send path: what the kernel copies of zero-copy sends is counted; of those to this machine it is all",
          "[net][send]") {
  constexpr uint64_t size = 4 << 20;
  FakeStore store;
  store.add("file", {.size = size});
  LoopThread thread;
  if (!thread.loop().can_send_zerocopy()) return;
  SendContext context(&thread.loop(), options_for(SendMethod::zerocopy));
  {
    Channel channel(&thread, &context);
    channel.send(reply_of(store, "file", 0, size));
    CHECK(read_bytes(channel.client(), size + 13).substr(13) == store.content("file"));
    channel.until_sent(1);
  }
  thread.stop();  // all is released
  CHECK(context.stats().zerocopy_bytes == size);
  CHECK(context.stats().zerocopy_copied_bytes == size);
}

TEST_CASE("send path: a slice that comes after the connection has gone is dropped", "[net][send]") {
  FakeStore store;
  FakeFile& file = store.add("cold", {.size = 1 << 20});
  file.park_reads = true;
  {
    LoopThread thread;
    SendContext context(&thread.loop(), options_for(SendMethod::automatic));
    {
      Channel channel(&thread, &context);
      Reply reply = reply_of(store, "cold", 0, 1 << 20);
      const std::shared_ptr<OpenFile> kept = reply.file;  // the fake's parked read needs it
      channel.send(std::move(reply));
      CHECK(store.parked() == 1);
      channel.close();
      thread.loop().stop();  // waits for the read
      store.run_parked();
    }
    thread.stop();
  }
  file.pages.reset();
  CHECK(nothing_referenced(store.arena()));
}

TEST_CASE("send path: a failed read fails the reply", "[net][send]") {
  FakeStore store;
  store.add("bad", {.size = 1 << 20}).read_error = EIO;
  LoopThread thread;
  SendContext context(&thread.loop(), options_for(SendMethod::automatic));
  Channel channel(&thread, &context);
  channel.send(reply_of(store, "bad", 0, 1 << 20));
  CHECK(channel.until_failed() == EIO);
}

TEST_CASE("send path: lends nothing when no memory may be pinned", "[net][send]") {
  FakeStore store;
  store.add("file", {.size = 1 << 20});
  LoopThread thread;
  SendOptions options = options_for(SendMethod::vmsplice);
  options.pinned_max_bytes = 0;
  SendContext context(&thread.loop(), options);
  Channel channel(&thread, &context);
  channel.send(reply_of(store, "file", 0, 1 << 20));
  channel.until_sent(1);
  CHECK(context.stats().vmsplice_bytes == 0);
  CHECK(context.stats().copy_bytes > 1 << 20);
}

TEST_CASE("send path: clients that stop reading hold what may be pinned, all together", "[net][send]") {
  if (!probe_send_methods().vmsplice) return;
  constexpr uint64_t size = 8 << 20;
  FakeStore store;
  store.add("file", {.size = size});
  const std::string content = store.content("file");
  LoopThread thread;
  SendOptions options = options_for(SendMethod::vmsplice);
  options.pinned_max_bytes = 4 << 20;
  SendContext context(&thread.loop(), options);
  std::vector<std::unique_ptr<Channel>> channels;
  for (int i = 0; i < 10; i++) {
    channels.push_back(std::make_unique<Channel>(&thread, &context));
    channels.back()->send(reply_of(store, "file", 0, size));
    channels.back()->until_stalled();
  }
  // What they hold beyond that was copied. In their pipes waits what no socket has taken: it was lent, and not counted.
  const SendStats stalled = context.stats();
  CHECK(stalled.vmsplice_bytes <= options.pinned_max_bytes);
  CHECK(stalled.copy_bytes > uint64_t{4} << 20);
  for (const auto& channel : channels) {
    const std::string expected = "head of file\n" + content;
    REQUIRE(read_bytes(channel->client(), expected.size()) == expected);
  }
  // They have read it all: there is room again.
  channels.front()->send(reply_of(store, "file", 0, size));
  REQUIRE(read_bytes(channels.front()->client(), size + 13).substr(13) == content);
  CHECK(context.stats().vmsplice_bytes > stalled.vmsplice_bytes);
}

}  // namespace
}  // namespace sluice

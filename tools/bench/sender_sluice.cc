// Sluice itself: the cache, the store on direct I/O and the send path, put together as a gateway does it, with one
// method forced as by --send-method. One loop sends, on this thread; the disk and the store have threads of their own.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cache/block_cache.h"
#include "cache/disk.h"
#include "fs/store/store.h"
#include "net/event_loop.h"
#include "net/send_path.h"
#include "tools/bench/file_sender.h"
#include "tools/options.h"

namespace sluice {
namespace {

// As `sluice serve` has it when no option says otherwise, with a cache that holds the file whatever metadata takes.
const Options kDefaults;

uint64_t cache_size_for(uint64_t file_size) {
  return file_size + file_size / 4 + (uint64_t{64} << 20);
}

struct CacheAndStore {
  std::unique_ptr<BlockCache> cache;
  std::unique_ptr<Store> store;
  std::unique_ptr<Disk> disk;  // ends before the store
};

Result<CacheAndStore> make_cache_and_store(const SentFile& file) {
  const uint64_t cache_size = cache_size_for(file.size);
  CacheAndStore made;
  made.cache = TRY(BlockCache::create({.size_bytes = cache_size,
                                       .policy = kDefaults.cache_policy,
                                       .large_file_bytes = kDefaults.large_file_bytes,
                                       .proof = probe_release_proof()}));
  made.disk = open_disk({.io_depth = kDefaults.io_depth});
  StoreOptions options;
  options.source = file.folder;
  options.read_only = true;
  options.readahead.window_max_bytes = std::min(kDefaults.readahead_bytes, cache_size / 32);
  made.store = TRY(Store::open(options, made.cache.get(), made.disk.get(), &system_clock()));
  return made;
}

// One connection and its one reply. Belongs to the loop's thread.
class Connection final : public SocketHandler, public SendOwner {
 public:
  // `done` gets an errno, or 0 when the receiver has everything; it may destroy the connection. Then `waits` is final.
  Connection(SendContext* context, int socket, Callback<void(int)> done)
      : loop_(&context->loop()), socket_(socket), done_(std::move(done)) {
    ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
    SendPath::prepare(socket);
    id_ = loop_->add(socket, this);
    path_ = std::make_unique<SendPath>(context, this, socket, id_);
  }
  ~Connection() {
    path_->close();
    loop_->remove(id_);
  }

  void send(Reply reply, Callback<void()> sent) {
    sent_ = std::move(sent);
    path_->send(std::move(reply));
  }
  uint64_t waits() const { return waits_; }

 private:
  void on_received(std::string_view) override { end(0); }  // the receiver's byte
  void on_receive_end(int error) override { end(error != 0 ? error : EPIPE); }
  void on_writable() override { path_->on_writable(); }
  void on_reply_sent() override {
    sent_();
    ::shutdown(socket_, SHUT_WR);
    loop_->start(id_);
  }
  void on_send_failed(int error) override { end(error); }
  void on_reply_lost(int error, bool) override { end(error); }
  void on_send_progress() override {}
  void on_send_waits(bool for_client) override { waits_ += for_client ? 1 : 0; }

  // Not from inside a call of the path, which the connection must outlive.
  void end(int error) {
    if (!done_) return;
    loop_->post([done = std::move(done_), error]() mutable { done(error); });
    done_ = {};
  }

  EventLoop* const loop_;
  const int socket_;
  Callback<void(int)> done_;
  Callback<void()> sent_;
  SocketId id_;
  std::unique_ptr<SendPath> path_;
  uint64_t waits_ = 0;
};

class SluiceSender final : public FileSender {
 public:
  static Result<std::unique_ptr<FileSender>> make(const SentFile& file, SendMethod method) {
    const SendSupport support = probe_send_methods();
    auto loop = TRY(EventLoop::create({}));
    if (method == SendMethod::vmsplice && !support.vmsplice) return fail(EOPNOTSUPP);
    if (method == SendMethod::zerocopy && !(support.zerocopy && loop->can_send_zerocopy())) return fail(EOPNOTSUPP);
    CacheAndStore parts = TRY(make_cache_and_store(file));
    auto opened = TRY(parts.store->open_path({.uid = ::geteuid(), .gid = ::getegid(), .groups = {}}, file.name));
    const SendOptions options = {
        .method = method, .support = support, .pinned_max_bytes = cache_size_for(file.size) / 4};
    return std::make_unique<SluiceSender>(std::move(parts), std::move(opened.file), std::move(loop), options);
  }
  SluiceSender(CacheAndStore parts, std::shared_ptr<OpenFile> file, std::unique_ptr<EventLoop> loop,
               const SendOptions& options)
      : parts_(std::move(parts)), file_(std::move(file)), loop_(std::move(loop)), context_(loop_.get(), options) {}
  ~SluiceSender() override {
    connection_.reset();
    file_.reset();
    parts_.disk.reset();
    parts_.store.reset();
  }

  Result<SentFigures> send(const SenderSockets& sockets, Meter& meter) override {
    loop_->post([&] { sockets.warm_up >= 0 ? warm_up(sockets, meter) : measure(sockets, meter); });
    loop_->run();  // until all zero-copy sends are notified, so that what the kernel copied is known
    if (error_ != 0) return fail(error_);
    const SendStats after = context_.stats();
    return SentFigures{.copied_bytes = after.copy_bytes - before_.copy_bytes + after.zerocopy_copied_bytes -
                                       before_.zerocopy_copied_bytes,
                       .waits = waits_};
  }

 private:
  void warm_up(const SenderSockets& sockets, Meter& meter) {
    connect(sockets.warm_up, [this, &sockets, &meter] { measure(sockets, meter); });
    connection_->send(reply(), [] {});
  }

  void measure(const SenderSockets& sockets, Meter& meter) {
    connect(sockets.measured, [this] { loop_->stop(); });
    before_ = context_.stats();
    meter.begin();
    connection_->send(reply(), [this, &meter] {
      meter.end();
      waits_ = connection_->waits();
    });
  }

  void connect(int socket, Callback<void()> received) {
    const auto done = [this, received = std::make_shared<Callback<void()>>(std::move(received))](int error) {
      connection_.reset();
      error_ = error;
      error == 0 ? (*received)() : loop_->stop();
    };
    connection_ = std::make_unique<Connection>(&context_, socket, done);
  }

  Reply reply() const {
    Reply reply;
    reply.file = file_;
    reply.length = file_->data().size();
    reply.watch = file_->data().watch();
    return reply;
  }

  CacheAndStore parts_;
  std::shared_ptr<OpenFile> file_;
  const std::unique_ptr<EventLoop> loop_;
  SendContext context_;
  std::unique_ptr<Connection> connection_;
  SendStats before_;
  uint64_t waits_ = 0;
  int error_ = 0;
};

SendWay way(std::string name, std::string title, SendMethod method) {
  return {std::move(name), std::move(title),
          [method](const SentFile& file) { return SluiceSender::make(file, method); }};
}

}  // namespace

std::vector<SendWay> sluice_ways() {
  return {way("sluice-copy", "Sluice: cache + write", SendMethod::copy),
          way("sluice-vmsplice", "Sluice: cache + vmsplice", SendMethod::vmsplice),
          way("sluice-zerocopy", "Sluice: cache + SEND_ZC", SendMethod::zerocopy)};
}

}  // namespace sluice

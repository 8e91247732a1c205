// SendPath sends replies to one client: small bytes and ranges of files, in order, by the cheapest method that is safe.
// Protocols queue replies and never know which method carried them.
//
//   copy       sendmsg from the cache's pages. Always works; small replies go this way together with their header.
//   vmsplice   the pages go by reference through a pipe into the socket. The pages are marked lent before; from then on
//              the arena knows that the kernel may read them, and our references can go at once.
//   zerocopy   io_uring's SENDMSG_ZC. Our references stay until the kernel's notification. It pays for peers behind a
//              real network card; for peers on this host the kernel copies and says so, then the connection stops
//              using it.
//
// Never holds references on pages while it waits for the client: what the socket did not take is read again from the
// cache when it is writable. What a slow client keeps of ours is its socket's queue (see kUnsentMax) and one pipe: lent
// memory, which the arena counts as cooling once the cache dropped it. When too much of that is stuck everybody gets
// copies (pinned_max_bytes).
//
// The bytes of a reply must not change after its header was made; else, and when the file ended early or fails, the
// reply is lost: in the middle, which the client sees as a short body, or, before any of it was sent, for the owner to
// make another.
//
// Belongs to the loop's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/store/store.h"
#include "net/event_loop.h"
#include "net/pipe_pool.h"
#include "net/send_turns.h"

namespace sluice {

enum class SendMethod { automatic, copy, vmsplice, zerocopy };

struct SendSupport {
  bool vmsplice = false;  // shares pages: what is written after the call is what the reader gets
  bool zerocopy = false;
};
// Tries each method on this system. Some 100 us.
SendSupport probe_send_methods();

struct SendOptions {
  SendMethod method = SendMethod::automatic;  // one that is not supported means copy
  SendSupport support;
  // Lend no more while clients of this loop hold more: what is in their pipes and sockets, and what zerocopy was not
  // told of; nor while the arena has more than this cooling and cannot get it back. Less than a slice (1 MiB): never
  // lend.
  uint64_t pinned_max_bytes = uint64_t{64} << 20;
  uint32_t copy_max_bytes = 32 << 10;  // slices up to here are always copied
  uint32_t pipes_max = 128;            // of vmsplice, two descriptors each; clients beyond that get copies
};

struct SendStats {  // bytes handed to sockets
  uint64_t copy_bytes = 0;
  uint64_t vmsplice_bytes = 0;
  uint64_t zerocopy_bytes = 0;
  uint64_t zerocopy_copied_bytes = 0;  // handed over by zerocopy, and copied by the kernel all the same, as it said
};

struct Reply {
  std::string head;
  std::shared_ptr<OpenFile> file;  // nullptr: no body
  uint64_t offset = 0;             // of the body in the file
  uint64_t length = 0;
  std::shared_ptr<const ChangeWatch> watch;  // of the file, made before the head

  std::string tail;

  // The body's beginning, first_slice of it, where that was read already. It is sent if the socket has room now.
  std::optional<FileSlice> slice;
  uint64_t asked_bytes = 0;  // of the body, that the file's readahead knows of

  uint64_t size() const { return head.size() + length + tail.size(); }
};

class SendPath;

// What the paths of one loop share.
class SendContext {
 public:
  SendContext(EventLoop* loop, const SendOptions& options)
      : loop_(loop),
        options_(options),
        pinned_max_bytes_(options.pinned_max_bytes),
        pipes_(options.pipes_max),
        turns_(std::make_shared<SendTurns>(loop)) {}

  EventLoop& loop() { return *loop_; }
  const SendOptions& options() const { return options_; }
  SendStats stats() const;  // any thread
  // A reply was copied to its socket by another way.
  void note_copied(uint64_t bytes) { copy_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  // In place of the options', from now on. Any thread.
  void set_pinned_max(uint64_t bytes) { pinned_max_bytes_.store(bytes, std::memory_order_relaxed); }

 private:
  friend class SendPath;

  // Whether clients may hold another `bytes`.
  bool may_hold(uint64_t bytes) const { return zerocopy_held_bytes_ + spliced_held_bytes_ + bytes <= pinned_max(); }
  // What clients hold of what was spliced, looked up anew: they take it without telling.
  void look_at_spliced();
  uint64_t pinned_max() const { return pinned_max_bytes_.load(std::memory_order_relaxed); }
  // Whether another `bytes` may be lent now.
  bool may_lend(const Arena& arena, uint64_t bytes);
  void look_at(const ArenaStats& stats);

  EventLoop* const loop_;
  const SendOptions options_;
  std::atomic<uint64_t> pinned_max_bytes_;
  PipePool pipes_;
  const std::shared_ptr<SendTurns> turns_;
  std::vector<iovec> iovecs_;  // scratch
  bool too_much_cooling_ = false;
  uint64_t sent_since_look_ = 0;
  uint64_t stuck_seen_ = 0;           // busy release tests and replaced frames, at the last look
  uint64_t zerocopy_held_bytes_ = 0;  // until notified
  uint64_t spliced_held_bytes_ = 0;   // of the paths below, when each was looked at last
  std::unordered_set<SendPath*> splicing_;
  uint64_t refused_since_look_ = 0;
  std::atomic<uint64_t> copy_bytes_{0};
  std::atomic<uint64_t> vmsplice_bytes_{0};
  std::atomic<uint64_t> zerocopy_bytes_{0};
  std::atomic<uint64_t> zerocopy_copied_bytes_{0};
};

class SendOwner {
 public:
  // The first bytes of a reply are there, and go to the socket now. Again when that was full.
  virtual void on_reply_starts() {}
  virtual void on_reply_sent() = 0;            // in order, once per reply: handed to the socket in full
  virtual void on_send_failed(int error) = 0;  // the socket's error; the path is dead
  // The file of the first reply failed, or changed (ESTALE). `begun`: some of it was sent, and the path is dead. Else
  // the reply is forgotten.
  virtual void on_reply_lost(int error, bool begun) = 0;
  virtual void on_send_progress() = 0;  // the socket took some bytes
  // Nothing more can be sent until the client takes some, or the file's bytes come.
  virtual void on_send_waits(bool for_client) = 0;

 protected:
  ~SendOwner() = default;
};

class SendPath {
 public:
  // How much of a body is read in one piece.
  static uint64_t first_slice(uint64_t offset, uint64_t length);

  // Settings of a socket that the path relies on. The path still works, slower, where they are refused (socket pairs).
  static void prepare(int fd);

  SendPath(SendContext* context, SendOwner* owner, int fd, SocketId id);
  ~SendPath() { close(); }
  SendPath(const SendPath&) = delete;
  SendPath& operator=(const SendPath&) = delete;

  // May send, and call the owner, before it returns. The owner may `send` and `close` from its calls, not destroy.
  void send(Reply reply);
  void on_writable();
  void on_turn();
  void close();  // before the socket's descriptor
  // While it waits for the file: as if that had failed with `error`. What the file says later is thrown away.
  void give_up(int error);
  uint64_t sent_bytes() const { return advanced_bytes_ - parked_; }  // of all replies, handed to the socket
  // ... and which the client's system has acknowledged. Asks the socket.
  uint64_t taken_bytes() const;
  bool waits_for_file() const { return waiting_ == Waiting::slice; }
  bool waits_for_client() const { return waiting_ == Waiting::socket || waiting_ == Waiting::release; }

 private:
  friend class SendContext;
  enum class Waiting : uint8_t { nothing, socket, slice, zerocopy, release, turn };
  void pump();
  bool step();  // false: nothing more to do now
  bool is_bulk() const;
  bool advanced(size_t bytes);
  bool wait_socket();
  bool yield();
  bool failed(int error);
  void lost(int error);

  bool ask_slice();
  void take_slice(uint64_t asked, Result<FileSlice> slice);
  SendMethod choose() const;

  // Each sends some of the current reply, from position_ on.
  bool push_copy();  // send_copy.cc
  bool push_head();
  bool push_vmsplice();  // send_splice.cc
  bool drain_pipe();
  uint64_t queued_bytes() const;
  void note_spliced();
  void set_spliced_held(uint64_t bytes);
  bool push_zerocopy();                          // send_zerocopy.cc
  bool waits_for_release(uint64_t bytes) const;  // before more may be held
  void zerocopy_sent(uint64_t wanted, Result<size_t> sent);
  void zerocopy_released(uint64_t length, bool copied);

  const Reply& reply() const { return replies_.front(); }
  uint64_t body_position() const { return position_ - reply().head.size(); }
  bool in_head() const { return position_ < reply().head.size(); }
  bool body_left() const { return reply().length > 0 && position_ < reply().head.size() + reply().length; }

  SendContext* const context_;
  SendOwner* const owner_;
  const int fd_;
  const SocketId id_;
  bool peer_is_local_ = false;
  bool closed_ = false;
  bool pumping_ = false;
  bool asking_ = false;  // inside a read of the file
  Waiting waiting_ = Waiting::nothing;
  std::deque<Reply> replies_;
  uint64_t position_ = 0;   // of the first reply: bytes on their way (socket, pipe)
  uint64_t asked_end_ = 0;  // ... its body bytes asked for so far, for the readahead
  uint64_t turn_bytes_ = 0;
  uint64_t advanced_bytes_ = 0;
  std::optional<FileSlice> slice_;  // the body from body_position() on
  Pipe pipe_;
  uint64_t parked_ = 0;            // bytes in the pipe
  uint64_t spliced_held_ = 0;      // there and in the socket, when looked at last
  uint64_t zerocopy_held_ = 0;     // bytes sent by zerocopy and not released yet
  bool zerocopy_refused_ = false;  // the rest of this reply goes in another way
  std::shared_ptr<SendTicket> ticket_;
};

}  // namespace sluice

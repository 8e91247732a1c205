// NfsSession is one client's connection: records in, calls run, replies out as they are ready, which need not be the
// order of the calls.
//
// What is known is answered at once, on the loop's thread; a READ's data come from the cache or the disk without a
// thread waiting for them; a WRITE's data go to the store's memory as they come; everything else runs on the pool,
// whose threads send the replies themselves while the loop has nothing to send (DirectSocket), and receive the next
// call, too, of a client that sends them one by one (DirectCalls).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/connection.h"
#include "net/nfs/direct_socket.h"
#include "net/nfs/job.h"
#include "net/nfs/service.h"
#include "net/nfs/worker.h"
#include "net/peer_address.h"

namespace sluice {

class NfsSession final : public Connection {
 public:
  // `options` outlive it.
  NfsSession(NfsWorker* worker, UniqueFd socket, const PeerAddress& peer, const NfsClientOptions& options);

  void drain();  // answer the calls under way, then close
  // No call is under way, nor a part of one.
  bool idle() const { return calls_ == 0 && !has_part_of_call(); }
  std::chrono::nanoseconds idle_since() const { return idle_since_; }
  const PeerAddress& peer() const { return peer_; }

 private:
  // A READ that may have to be made again, because its file changed before its reply began.
  struct ReadCall {
    uint32_t xid = 0;
    std::string arguments;
    NfsJob::Client client;
    uint32_t attempts = 0;
  };
  // One reply under way: of so many calls, or of a READ.
  struct SentReply {
    uint32_t calls = 0;
    uint64_t bytes = 0;  // without a READ's data
    std::optional<ReadCall> read;
  };
  // A WRITE of which the data are on their way.
  struct ArrivingWrite {
    std::string record;  // up to the data
    std::unique_ptr<PreparedWrite> data;
    size_t unused = 0;  // what is to follow them: padding, and data beyond the count
  };
  class Ticket;
  class DirectCalls;

  size_t on_input(std::string_view bytes) override;
  void on_input_end() override;
  void on_reply_sent() override;
  void on_reply_lost(int error, bool begun) override;
  void on_progress() override;
  void on_waits(bool) override {}
  void on_timeout() override;
  void on_closed() override;

  bool has_part_of_call() const { return write_ || !record_.empty() || has_input(); }
  void end_if_done();
  size_t take_calls(std::string_view bytes);
  size_t take_call(std::string_view bytes);
  void handle_whole(std::string_view record);
  std::string_view take_record(std::string_view bytes, size_t* consumed);
  bool may_take_more() const;
  void handle(std::string_view record, std::unique_ptr<PreparedWrite> data = nullptr);
  void refuse(uint32_t xid, RpcError error, uint32_t version = 0);
  // False: refused.
  bool identify(const RpcCall& call);
  NfsJob::Client client() const;
  void handle_nfs(const RpcCall& call, std::unique_ptr<PreparedWrite> data);
  void run_elsewhere(const RpcCall& call, std::unique_ptr<PreparedWrite> data = nullptr);
  void answer_null(const RpcCall& call);

  // session_direct.cc
  bool has_one_call() const { return calls_ - answered_.load(std::memory_order_relaxed) == 1; }
  bool comes_alone(uint64_t size);
  void give_away_input(const std::shared_ptr<DirectCalls>& direct, const RpcCall& call,
                       std::unique_ptr<PreparedWrite> data);
  void offer_input();
  void look_after_direct_calls(uint64_t records_before);
  void take_back_input();

  // WRITE.
  size_t begin_write(std::string_view record, size_t record_length);
  size_t take_write(std::string_view bytes);

  // READ.
  void begin_read(ReadCall call);
  void begin_read_elsewhere(ReadCall call);
  struct PendingRead;
  void read(ReadCall call, NfsReadTarget target);
  void send_read(PendingRead& read, Result<FileSlice> slice);
  void read_again(ReadCall call, int error, const std::optional<struct stat>& attributes);
  void fail_read(const ReadCall& call, const NfsReadFailure& failure);

  void answer(std::string reply);  // of one call
  void flush();
  void give(SentReply what, Reply reply);
  void queue(SentReply what, Reply reply);
  void take_back_output();
  void call_ended(uint64_t calls);

  NfsWorker* const worker_;
  NfsShared& shared_;
  const PeerAddress peer_;
  const NfsClientOptions& options_;
  std::string record_;  // fragments so far, of a call in several
  std::optional<ArrivingWrite> write_;
  std::chrono::nanoseconds idle_since_;
  uint64_t calls_ = 0;                 // taken, and not answered in full as far as the loop knows;
  std::atomic<uint64_t> answered_{0};  // it will hear of these
  uint64_t held_bytes_ = 0;  // arguments of those that are elsewhere, room for their replies, and replies that wait
  bool draining_ = false;
  bool in_input_loop_ = false;
  std::string credential_;  // of the last call, and who that is
  std::shared_ptr<const Caller> caller_;
  std::string ready_;  // replies to be sent together
  uint32_t ready_calls_ = 0;
  std::deque<SentReply> sent_;              // given to the send path, in its order
  std::chrono::nanoseconds progress_at_{};  // of the first of them: when the client took some of it last,
  uint64_t taken_bytes_ = 0;                // and how much it had taken then
  DirectSocket direct_;                     // on offer while there are none, and more calls may come

  // Of DirectCalls: whose the input is, and whether the next call will come alone.
  enum class Input : uint8_t { loop, stopping, direct };
  Input input_ = Input::loop;
  Callback<void()> start_direct_;  // once the loop has stopped to receive
  TimerId look_timer_ = 0;
  uint32_t lone_calls_ = 0;
  std::chrono::nanoseconds last_lone_call_{};
};

}  // namespace sluice

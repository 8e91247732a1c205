// Connection is one client's socket on one loop: its input, its SendPath, its deadline, its end. A protocol derives
// from it and sees bytes in and replies out.
//
// Input is shown straight from the loop's buffer; only what the protocol leaves is kept here. So a connection that
// waits for its next request owns no buffer.
//
// Belongs to the loop's thread. Held by shared_ptr; asynchronous work keeps a weak_ptr and looks at closed().
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "cache/unique_fd.h"
#include "net/event_loop.h"
#include "net/send_path.h"

namespace sluice {

class Connection : private SocketHandler, protected SendOwner, public std::enable_shared_from_this<Connection> {
 public:
  Connection(SendContext* context, UniqueFd socket, size_t input_max_bytes);
  virtual ~Connection();

  void start();  // receiving
  // At once. What was not handed to the socket is lost; `reset` throws away what the socket still holds, too.
  void close(bool reset = false);
  // Says that nothing more will be sent, and reads on for a while without listening: closing a socket with unread input
  // would reset the connection and could destroy our last reply on its way.
  void close_gently();
  bool closed() const { return !socket_; }

  void check_deadline();  // called every second or so

 protected:
  static constexpr std::chrono::nanoseconds kNever = std::chrono::nanoseconds::max();

  // All bytes not consumed so far. Returns how many it consumed; called again when more came, and by consume_input().
  virtual size_t on_input(std::string_view bytes) = 0;
  virtual void on_input_end() = 0;  // the peer closed its side
  void on_reply_sent() override = 0;
  void on_reply_lost(int error, bool begun) override = 0;
  virtual void on_progress() = 0;              // the socket took some bytes
  virtual void on_waits(bool for_client) = 0;  // see SendOwner::on_send_waits
  virtual void on_timeout() = 0;
  virtual void on_closed() = 0;  // the last call, just before the socket goes; do not destroy in it

  void consume_input();  // shows the kept bytes again
  // For a while somebody else receives; while `is_receiving` still says yes, bytes may come by on_input. `resume_input`
  // shows what that one received.
  void stop_input();
  bool is_receiving() { return loop().is_receiving(id_); }
  void resume_input(std::string_view bytes);
  bool waits_for_client() const { return send_.waits_for_client(); }
  bool waits_for_file() const { return send_.waits_for_file(); }
  uint64_t sent_bytes() const { return send_.sent_bytes(); }
  uint64_t taken_bytes() const { return send_.taken_bytes(); }
  void give_up_file(int error) { send_.give_up(error); }
  bool has_input() const { return !input_.empty(); }
  bool input_ended() const { return input_ended_; }
  void send(Reply reply) { send_.send(std::move(reply)); }
  void set_deadline(std::chrono::nanoseconds delay) {
    deadline_ = delay == kNever ? kNever : context_->loop().now() + delay;
  }
  EventLoop& loop() { return context_->loop(); }
  int socket() const { return socket_.get(); }

 private:
  void on_received(std::string_view bytes) final;
  void on_receive_end(int error) final;
  void on_writable() final;
  void on_send_failed(int error) final;
  void on_send_progress() final { on_progress(); }
  void on_send_waits(bool for_client) final { on_waits(for_client); }
  void keep(std::string_view rest);
  void balance_input();

  SendContext* const context_;
  const size_t input_max_bytes_;
  UniqueFd socket_;
  SocketId id_;
  SendPath send_;
  std::string input_;
  std::chrono::nanoseconds deadline_ = kNever;
  size_t discarded_ = 0;
  bool in_input_ = false;
  bool paused_ = false;
  bool input_stopped_ = false;
  bool lingering_ = false;
  bool input_ended_ = false;
};

}  // namespace sluice

#include "net/connection.h"

#include <sys/socket.h>

#include "cache/assert.h"

namespace sluice {
namespace {

constexpr std::chrono::seconds kLingerTime{2};
constexpr size_t kLingerBytes = 1 << 20;

}  // namespace

Connection::Connection(SendContext* context, UniqueFd socket, size_t input_max_bytes)
    : context_(context),
      input_max_bytes_(input_max_bytes),
      socket_(std::move(socket)),
      id_(context->loop().add(socket_.get(), this)),
      send_(context, this, socket_.get(), id_) {
  SendPath::prepare(socket_.get());
}

Connection::~Connection() {
  ASSERT(closed());
}

void Connection::start() {
  loop().start(id_);
}

void Connection::close(bool reset) {
  if (closed()) return;
  send_.close();
  loop().remove(id_);
  if (reset) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  const UniqueFd socket = std::move(socket_);
  on_closed();
}

void Connection::close_gently() {
  if (closed() || lingering_) return;
  if (input_ended_) {
    close();
    return;
  }
  ::shutdown(socket_.get(), SHUT_WR);
  lingering_ = true;
  std::string().swap(input_);
  if (paused_) loop().start(id_);
  set_deadline(kLingerTime);
}

void Connection::check_deadline() {
  if (closed() || loop().now() < deadline_) return;
  if (lingering_) {
    close();
  } else {
    on_timeout();
  }
}

void Connection::on_received(std::string_view bytes) {
  if (lingering_) {
    discarded_ += bytes.size();
    if (discarded_ > kLingerBytes) close();
    return;
  }
  if (!input_.empty()) {
    input_.append(bytes);
    consume_input();
    return;
  }
  in_input_ = true;
  const size_t consumed = on_input(bytes);
  in_input_ = false;
  if (!closed() && !lingering_ && consumed < bytes.size()) keep(bytes.substr(consumed));
}

void Connection::consume_input() {
  if (in_input_ || closed() || lingering_) return;
  if (!input_.empty()) {
    in_input_ = true;
    const size_t consumed = on_input(input_);
    in_input_ = false;
    if (closed() || lingering_) return;
    input_.erase(0, consumed);
    if (input_.empty()) std::string().swap(input_);  // with its memory
  }
  balance_input();
}

void Connection::stop_input() {
  input_stopped_ = true;
  balance_input();
}

void Connection::resume_input(std::string_view bytes) {
  input_stopped_ = false;
  if (closed()) return;
  if (!bytes.empty()) on_received(bytes);
  if (!closed()) balance_input();
}

void Connection::keep(std::string_view rest) {
  input_.append(rest);
  balance_input();
}

// A client that sends faster than it is served is left to TCP's flow control.
void Connection::balance_input() {
  const bool stop = input_stopped_ || input_.size() >= input_max_bytes_;
  if (stop == paused_ || input_ended_) return;
  paused_ = stop;
  if (stop) {
    loop().pause(id_);
  } else {
    loop().start(id_);
  }
}

void Connection::on_receive_end(int error) {
  input_ended_ = true;
  if (error != 0 || lingering_) {
    close();
    return;
  }
  on_input_end();
}

void Connection::on_writable() {
  send_.on_writable();
}

void Connection::on_send_failed(int) {
  close();
}

}  // namespace sluice

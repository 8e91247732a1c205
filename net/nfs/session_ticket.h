// The way of one call back to its connection, from any thread. Dropped without an answer it only says that the call is
// over.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "net/event_loop.h"
#include "net/nfs/session.h"

namespace sluice {

class NfsSession::Ticket {
 public:
  // On the loop's thread. `held_bytes`: what the call takes of its connection's memory until it is back.
  Ticket(NfsSession* session, uint64_t held_bytes)
      : loop_(&session->loop()),
        session_(std::static_pointer_cast<NfsSession>(session->shared_from_this())),
        held_bytes_(held_bytes) {
    loop_->hold();
    session->held_bytes_ += held_bytes;
  }
  Ticket(Ticket&& other) noexcept
      : loop_(std::exchange(other.loop_, nullptr)),
        session_(std::move(other.session_)),
        held_bytes_(other.held_bytes_) {}
  Ticket& operator=(Ticket&&) = delete;
  ~Ticket() {
    if (loop_ != nullptr) back([](NfsSession& session) { session.call_ended(1); });
  }

  // On the loop's thread: the call is answered without it.
  void cancel() {
    std::exchange(loop_, nullptr)->unhold();
    session_->held_bytes_ -= held_bytes_;
    session_.reset();
  }
  // The call's reply is sent, at once where that can be.
  void answer(std::string reply) {
    const auto outcome = try_send(reply);
    end(outcome, std::move(reply));
  }
  // ... in two steps.
  DirectSocket::Outcome try_send(std::string_view reply) {
    if (loop_->in_thread()) return DirectSocket::Outcome::refused;
    const auto outcome = socket().try_send(reply);
    if (outcome == DirectSocket::Outcome::sent) session_->worker_->send_context().note_copied(reply.size());
    return outcome;
  }
  void end(DirectSocket::Outcome outcome, std::string reply) {
    switch (outcome) {
      case DirectSocket::Outcome::refused:
        return back([reply = std::move(reply)](NfsSession& session) mutable { session.answer(std::move(reply)); });
      case DirectSocket::Outcome::sent:
        session_->answered_.fetch_add(1, std::memory_order_relaxed);
        return back([](NfsSession& session) {
          session.answered_.fetch_sub(1, std::memory_order_relaxed);
          session.call_ended(1);
        });
      case DirectSocket::Outcome::begun: return back([](NfsSession& session) { session.take_back_output(); });
    }
  }
  DirectSocket& socket() { return session_->direct_; }
  // `work` runs on the loop's thread, unless the connection is closed.
  template <typename Work>
  void back(Work work) {
    EventLoop* const loop = std::exchange(loop_, nullptr);
    loop->post([loop, session = std::move(session_), bytes = held_bytes_, work = std::move(work)]() mutable {
      loop->unhold();
      session->held_bytes_ -= bytes;
      if (!session->closed()) work(*session);
    });
  }

 private:
  EventLoop* loop_;
  std::shared_ptr<NfsSession> session_;
  uint64_t held_bytes_;
};

}  // namespace sluice

// Asynchronous code that reads top to bottom: a function that returns Detached starts at once, runs on whatever thread
// completes what it awaits, and destroys itself at the end. Its caller does not wait for it.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace sluice {

struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

// co_await completion_of<T>(start): `start` gets a function to call once with the T, inside the call or later.
template <typename T, typename Start>
class CompletionAwaiter {
 public:
  explicit CompletionAwaiter(Start start) : start_(std::move(start)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    // The completion may resume, finish and free the coroutine, and this object with it, before `start` returns.
    Start start = std::move(start_);
    start([this, waiting](T value) {
      value_.emplace(std::move(value));
      waiting.resume();
    });
  }
  T await_resume() { return std::move(*value_); }

 private:
  Start start_;
  std::optional<T> value_;
};

template <typename T, typename Start>
CompletionAwaiter<T, Start> completion_of(Start start) {
  return CompletionAwaiter<T, Start>(std::move(start));
}

}  // namespace sluice

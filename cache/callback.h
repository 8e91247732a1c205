// A move-only std::function: completions own what they will need (buffers, references, replies), so they cannot
// be copied. (std::move_only_function comes with C++23.)
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace sluice {

template <typename Signature>
class Callback;

template <typename R, typename... Args>
class Callback<R(Args...)> {
 public:
  Callback() = default;
  template <typename F>
  requires(!std::is_same_v<F, Callback>)
      Callback(F function)  // NOLINT(google-explicit-constructor): a lambda is meant to convert
      : holder_(std::make_unique<HolderOf<F>>(std::move(function))) {}

  R operator()(Args... args) { return holder_->call(std::forward<Args>(args)...); }
  explicit operator bool() const { return holder_ != nullptr; }

 private:
  struct Holder {
    virtual ~Holder() = default;
    virtual R call(Args... args) = 0;
  };
  template <typename F>
  struct HolderOf final : Holder {
    explicit HolderOf(F f) : function(std::move(f)) {}
    R call(Args... args) override { return function(std::forward<Args>(args)...); }
    F function;
  };
  std::unique_ptr<Holder> holder_;
};

}  // namespace sluice

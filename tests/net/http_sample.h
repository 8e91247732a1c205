// A server over a small store of files, for tests of HTTP.
#pragma once

#include <memory>
#include <utility>

#include "net/http/server.h"
#include "tests/net/fake_store.h"

namespace sluice {

inline std::unique_ptr<HttpServer> start(Store* store, HttpOptions options = {}) {
  options.address = "127.0.0.1:0";
  return std::move(*HttpServer::start(store, options));
}

inline FakeStore& sample_store(FakeStore& store) {
  store.add("a.txt", {.size = 1000});
  store.add("empty", {.size = 0});
  store.add("big.bin", {.size = (5 << 20) + 17});
  store.add("fresh", {.size = 10, .trustworthy = false});
  store.add_directory("dir");
  return store;
}

}  // namespace sluice

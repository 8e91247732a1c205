// IndexList is a doubly linked list of entries of one array, by their index; the links are a member of the entry, so
// that an entry is in as many lists at once as it has links. Every operation is a few stores.
#pragma once

#include <cstdint>

#include "cache/assert.h"

namespace sluice {

struct ListLink {
  uint32_t previous;
  uint32_t next;
};

template <typename Entry, ListLink Entry::*kLink>
class IndexList {
 public:
  static constexpr uint32_t kEnd = UINT32_MAX;

  IndexList() = default;  // to be assigned before use
  explicit IndexList(Entry* entries) : entries_(entries) {}

  bool empty() const { return front_ == kEnd; }
  uint32_t front() const { return front_; }  // kEnd when empty
  uint32_t back() const { return back_; }

  void push_front(uint32_t index) {
    link(index) = {kEnd, front_};
    (front_ == kEnd ? back_ : link(front_).previous) = index;
    front_ = index;
  }

  void push_back(uint32_t index) {
    link(index) = {back_, kEnd};
    (back_ == kEnd ? front_ : link(back_).next) = index;
    back_ = index;
  }

  // `to`, which is in no list, takes the place of `from`.
  void replace(uint32_t from, uint32_t to) {
    const ListLink place = link(from);
    link(to) = place;
    (place.previous == kEnd ? front_ : link(place.previous).next) = to;
    (place.next == kEnd ? back_ : link(place.next).previous) = to;
  }

  void remove(uint32_t index) {
    const ListLink gone = link(index);
    ASSERT((gone.previous == kEnd ? front_ : link(gone.previous).next) == index);  // it is in this list
    (gone.previous == kEnd ? front_ : link(gone.previous).next) = gone.next;
    (gone.next == kEnd ? back_ : link(gone.next).previous) = gone.previous;
  }

 private:
  ListLink& link(uint32_t index) { return entries_[index].*kLink; }

  Entry* entries_ = nullptr;
  uint32_t front_ = kEnd;
  uint32_t back_ = kEnd;
};

}  // namespace sluice

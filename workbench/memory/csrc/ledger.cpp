// A CPU allocator for torch that counts every byte and refuses the one that would pass a limit.
//
// It wraps the allocator that was there before: memory still comes from it, so profilers and torch's own
// out-of-memory errors keep working. Sizes are looked up by address, because torch may hand us a pointer
// that the previous allocator made (oneDNN frees scratch through whichever allocator is current).

#include <c10/core/Allocator.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
constexpr size_t kShards = 64;

struct Event {
  int64_t size;      // positive: allocated, negative: freed
  uint64_t address;
};

struct Shard {
  std::mutex mutex;
  std::unordered_map<void*, int64_t> sizes;
};

std::atomic<int64_t> live{0}, peak{0}, window_peak{0}, count{0}, limit{kUnlimited};
std::atomic<int64_t> refused_asked{0}, refused_live{0}, refused_limit{0}, refusals{0};
std::atomic<bool> recording{false};
std::mutex record_mutex;
std::vector<Event> record;
Shard shards[kShards];
c10::Allocator* inner = nullptr;

Shard& shard_of(void* p) {
  return shards[(reinterpret_cast<uintptr_t>(p) >> 6) % kShards];
}

void raise_to(std::atomic<int64_t>& top, int64_t value) {
  int64_t seen = top.load(std::memory_order_relaxed);
  while (value > seen && !top.compare_exchange_weak(seen, value)) {
  }
}

void remember(int64_t size, void* p) {
  if (!recording.load(std::memory_order_relaxed)) return;
  std::lock_guard<std::mutex> guard(record_mutex);
  record.push_back({size, reinterpret_cast<uint64_t>(p)});
}

void release(void* p) {
  if (p == nullptr) return;
  int64_t size = 0;
  {
    Shard& shard = shard_of(p);
    std::lock_guard<std::mutex> guard(shard.mutex);
    auto found = shard.sizes.find(p);
    if (found != shard.sizes.end()) {
      size = found->second;
      shard.sizes.erase(found);
    }
  }
  if (size != 0) {
    live.fetch_sub(size);
    remember(-size, p);
  }
  inner->raw_deallocate(p);
}

struct Ledger final : c10::Allocator {
  c10::DataPtr allocate(size_t n) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (n == 0) return {nullptr, nullptr, &release, cpu};
    const int64_t size = static_cast<int64_t>(n);
    const int64_t now = live.fetch_add(size) + size;
    const int64_t allowed = limit.load(std::memory_order_relaxed);
    if (now > allowed) {
      live.fetch_sub(size);
      refused_asked = size;
      refused_live = now - size;
      refused_limit = allowed;
      refusals.fetch_add(1);
      TORCH_CHECK_WITH(OutOfMemoryError, false, "memory budget: ", size, " bytes asked while ", now - size,
                       " are live and ", allowed, " allowed");
    }
    void* p = nullptr;
    try {
      p = inner->raw_allocate(n);
      Shard& shard = shard_of(p);
      std::lock_guard<std::mutex> guard(shard.mutex);
      shard.sizes[p] = size;
    } catch (...) {
      live.fetch_sub(size);
      if (p != nullptr) inner->raw_deallocate(p);
      throw;
    }
    count.fetch_add(1, std::memory_order_relaxed);
    raise_to(peak, now);
    raise_to(window_peak, now);
    remember(size, p);
    return {p, p, &release, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return &release;
  }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }
};

}  // namespace

extern "C" {

// 0: installed (or already was); 1: the allocator below offers no raw interface.
int ledger_install() {
  static Ledger* ledger = nullptr;
  if (ledger != nullptr) return 0;
  inner = c10::GetAllocator(c10::DeviceType::CPU);
  if (inner->raw_deleter() == nullptr) return 1;
  ledger = new Ledger();  // lives as long as the process: tensors keep pointing at its deleter
  c10::SetAllocator(c10::DeviceType::CPU, ledger, 255);
  return c10::GetAllocator(c10::DeviceType::CPU) == ledger ? 0 : 1;
}

int64_t ledger_live() { return live; }
int64_t ledger_peak() { return peak; }
int64_t ledger_count() { return count; }
void ledger_set_peak(int64_t value) { peak = value; }
int64_t ledger_limit() { return limit; }
void ledger_set_limit(int64_t value) { limit = value; }
int64_t ledger_refusals() { return refusals; }
int64_t ledger_open_window() {
  const int64_t now = live;
  window_peak = now;
  return now;
}
int64_t ledger_window_peak() { return window_peak; }

void ledger_refusal(int64_t* out) {
  out[0] = refused_asked;
  out[1] = refused_live;
  out[2] = refused_limit;
}

void ledger_record(int on) {
  std::lock_guard<std::mutex> guard(record_mutex);
  if (on) record.clear();
  recording = on != 0;
}

int64_t ledger_recorded(int64_t* sizes, uint64_t* addresses, int64_t capacity) {
  std::lock_guard<std::mutex> guard(record_mutex);
  const int64_t n = static_cast<int64_t>(record.size());
  for (int64_t i = 0; i < n && i < capacity; ++i) {
    sizes[i] = record[i].size;
    addresses[i] = record[i].address;
  }
  return n;
}

}  // extern "C"

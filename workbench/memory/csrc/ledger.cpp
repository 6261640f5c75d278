// A CPU allocator for torch that counts every byte and refuses the one that would pass a limit.
//
// It wraps the allocator that was there before: memory still comes from it, so profilers and torch's own
// out-of-memory errors keep working. Sizes are looked up by address, because torch may hand us a pointer
// that the previous allocator made (oneDNN frees scratch through whichever allocator is current).
//
// On request it serves the allocations of a repeated step from one planned block of memory, the arena. The
// thread that steps compares each of its allocations and frees with the plan; at the first that differs it
// goes back to the wrapped allocator for the rest of the step, so no planned place is used twice at once.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
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

struct Block {
  int64_t size;
  int64_t step;   // planned step that allocated it; 0: none
  int32_t index;  // its place among the planned allocations of that step
};

struct Shard {
  std::mutex mutex;
  std::unordered_map<void*, Block> blocks;
};

// The memory of one arena. It is unmapped with the arena, or with the last of the tensors that outlive it.
struct Region {
  char* base;
  size_t bytes;
  std::atomic<int64_t> occupied{0};

  bool holds(const void* p) const {
    const char* c = static_cast<const char*>(p);
    return c >= base && c < base + bytes;
  }
};

// Events: i for allocation number i, ~i for its free. An offset of -1 means outside the arena.
struct Arena {
  std::atomic<Region*> region{nullptr};
  std::vector<int64_t> sizes, offsets;
  std::vector<int32_t> events;
  size_t cursor = 0;
  int64_t step = 0;
  int64_t served = 0, missed = 0, broken = 0;
  bool following = false;

  int64_t occupied() const {
    const Region* now = region;
    return now == nullptr ? 0 : now->occupied.load();
  }
  void leave() {
    following = false;
    broken += 1;
  }
};

std::atomic<int64_t> live{0}, peak{0}, window_peak{0}, count{0}, limit{kUnlimited};
std::atomic<int64_t> refused_asked{0}, refused_live{0}, refused_limit{0}, refusals{0};
std::atomic<bool> recording{false}, record_everyone{true};
thread_local bool stepping = false, records = false;

// A thread that says under which number it may be interrupted is, at its next allocation, once that number is called.
std::atomic<int64_t> interrupted{0};
thread_local int64_t interruptible = 0;

Arena arena;
std::mutex retired_mutex;
std::vector<Region*> retired;
std::atomic<size_t> retired_count{0};
std::mutex record_mutex;
std::vector<Event> record;
Shard shards[kShards];
c10::Allocator* inner = nullptr;
bool counts_default = false;

Shard& shard_of(void* p) {
  return shards[(reinterpret_cast<uintptr_t>(p) >> 6) % kShards];
}

void raise_to(std::atomic<int64_t>& top, int64_t value) {
  int64_t seen = top.load(std::memory_order_relaxed);
  while (value > seen && !top.compare_exchange_weak(seen, value)) {
  }
}

void remember(int64_t size, void* p) {
  if (!recording.load(std::memory_order_relaxed) || !(record_everyone || records)) return;
  std::lock_guard<std::mutex> guard(record_mutex);
  record.push_back({size, reinterpret_cast<uint64_t>(p)});
}

// The planned place for the next allocation of this step, or null; ``block`` learns which one it is.
void* planned(Block& block) {
  if (!stepping) return nullptr;
  if (arena.following) {
    const int32_t next = arena.cursor < arena.events.size() ? arena.events[arena.cursor] : -1;
    if (next >= 0 && arena.sizes[next] == block.size) {
      arena.cursor += 1;
      block.step = arena.step;
      block.index = next;
      if (arena.offsets[next] < 0) return nullptr;
      Region* region = arena.region;
      region->occupied.fetch_add(1);
      arena.served += 1;
      return region->base + arena.offsets[next];
    }
    arena.leave();
  }
  arena.missed += 1;
  return nullptr;
}

void check_free(const Block& block) {
  if (!stepping || !arena.following || block.step != arena.step) return;  // older memory is not in the plan
  if (arena.cursor < arena.events.size() && arena.events[arena.cursor] == ~block.index) {
    arena.cursor += 1;
  } else {
    arena.leave();
  }
}

// Unmaps a retired region that holds nothing any more.
void let_go(Region* region) {
  std::lock_guard<std::mutex> guard(retired_mutex);
  auto found = std::find(retired.begin(), retired.end(), region);
  if (found == retired.end() || region->occupied != 0) return;
  munmap(region->base, region->bytes);
  retired.erase(found);
  retired_count = retired.size();  // the region itself stays: another thread may be looking at it
}

// Whether the address was in an arena; its place is free then.
bool vacate(void* p) {
  Region* region = arena.region;
  if (region == nullptr || !region->holds(p)) {
    if (retired_count == 0) return false;
    std::lock_guard<std::mutex> guard(retired_mutex);
    auto found = std::find_if(retired.begin(), retired.end(), [p](Region* r) { return r->holds(p); });
    if (found == retired.end()) return false;
    region = *found;
  }
  if (region->occupied.fetch_sub(1) == 1 && retired_count != 0) let_go(region);
  return true;
}

void release(void* p) {
  if (p == nullptr) return;
  Block block{0, 0, 0};
  {
    Shard& shard = shard_of(p);
    std::lock_guard<std::mutex> guard(shard.mutex);
    auto found = shard.blocks.find(p);
    if (found != shard.blocks.end()) {
      block = found->second;
      shard.blocks.erase(found);
    }
  }
  if (block.size != 0) {
    live.fetch_sub(block.size);
    remember(-block.size, p);
    if (block.step != 0) check_free(block);
  }
  if (!vacate(p)) inner->raw_deallocate(p);
}

struct Ledger final : c10::Allocator {
  c10::DataPtr allocate(size_t n) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (n == 0) return {nullptr, nullptr, &release, cpu};
    if (interruptible != 0 && interruptible == interrupted.load(std::memory_order_relaxed)) {
      TORCH_CHECK(false, "given up: whoever waited for this has cancelled");
    }
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
    Block block{size, 0, 0};
    void* p = planned(block);
    try {
      if (p == nullptr) p = inner->raw_allocate(n);
      Shard& shard = shard_of(p);
      std::lock_guard<std::mutex> guard(shard.mutex);
      shard.blocks[p] = block;
    } catch (...) {
      live.fetch_sub(size);
      if (p != nullptr && !vacate(p)) inner->raw_deallocate(p);
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

// Storages that Python makes without a tensor (a deep copy's) come from torch's default allocator, whichever is set.
// Neither it nor ours has members, so it turns into ours when it is given our methods; a twin keeps its own ones.
// True if its allocations are then counted.
bool adopt_default(Ledger* ledger) {
  static void* twin[1];
  c10::Allocator* given = c10::GetDefaultCPUAllocator();
  if (inner != given) return false;
  void*& methods = *reinterpret_cast<void**>(given);
  twin[0] = methods;
  inner = reinterpret_cast<c10::Allocator*>(twin);
  methods = *reinterpret_cast<void**>(ledger);
  const int64_t before = count;
  given->allocate(64);
  if (count == before + 1) return true;
  methods = twin[0];
  inner = given;
  return false;
}

}  // namespace

extern "C" {

// 0: installed (or already was); 1: the allocator below offers no raw interface.
int ledger_install() {
  static Ledger* ledger = nullptr;
  if (ledger != nullptr) return 0;
  inner = c10::GetAllocator(c10::DeviceType::CPU);
  if (inner->raw_deleter() == nullptr) return 1;
  ledger = new Ledger();  // lives as long as the process: tensors keep pointing at its deleter
  counts_default = adopt_default(ledger);
  c10::SetAllocator(c10::DeviceType::CPU, ledger, 255);
  return c10::GetAllocator(c10::DeviceType::CPU) == ledger ? 0 : 1;
}

// Whether storages that are made without a tensor are counted too.
int ledger_counts_default() { return counts_default ? 1 : 0; }

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

void ledger_interrupt(int64_t number) { interrupted = number; }

// The number under which the calling thread may be interrupted from now on, 0 for none; gives the one before.
int64_t ledger_interruptible(int64_t number) {
  const int64_t before = interruptible;
  interruptible = number;
  return before;
}

// 0: stop, 1: every thread, 2: the calling thread only.
void ledger_record(int mode) {
  std::lock_guard<std::mutex> guard(record_mutex);
  if (mode != 0) record.clear();
  record_everyone = mode == 1;
  records = mode == 2;
  recording = mode != 0;
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

// Memory in which tensors still live stays until the last of them is gone; no later arena uses it.
void ledger_arena_close() {
  stepping = false;
  Region* region = arena.region;
  if (region == nullptr) return;
  {
    std::lock_guard<std::mutex> guard(retired_mutex);
    retired.push_back(region);
    retired_count = retired.size();
    arena.region = nullptr;
  }
  let_go(region);
}

// 0: open; 1: no memory.
int ledger_arena_open(int64_t bytes, int64_t allocations, const int64_t* sizes, const int64_t* offsets,
                      int64_t events, const int32_t* sequence) {
  ledger_arena_close();
  if (bytes > 0) {
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return 1;
#ifdef MADV_HUGEPAGE
    madvise(base, bytes, MADV_HUGEPAGE);
#endif
    arena.region = new Region{static_cast<char*>(base), static_cast<size_t>(bytes)};
  }
  arena.sizes.assign(sizes, sizes + allocations);
  arena.offsets.assign(offsets, offsets + allocations);
  arena.events.assign(sequence, sequence + events);
  arena.served = arena.missed = arena.broken = 0;
#ifdef __GLIBC__
  malloc_trim(0);  // what the recorded step has freed goes back to the system
#endif
  return 0;
}

void ledger_arena_begin() {
  arena.step += 1;
  arena.cursor = 0;
  arena.following = arena.occupied() == 0;
  if (!arena.following) arena.broken += 1;
  stepping = true;
}

void ledger_arena_end() {
  stepping = false;
  if (arena.following && arena.cursor != arena.events.size()) arena.leave();
}

void ledger_arena_counts(int64_t* out) {
  out[0] = arena.served;
  out[1] = arena.missed;
  out[2] = arena.broken;
  out[3] = arena.occupied();
}

}  // extern "C"

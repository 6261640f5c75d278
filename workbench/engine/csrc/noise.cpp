// Noise from a counter: element i of tensor t under a seed is a function of (seed, t, i) and of nothing else.
//
// Philox4x32-7 (Salmon, Moraes, Dror and Shaw, 2011) makes the bits, Box and Muller's transform the Gaussian.
// Every step is an integer operation or one IEEE addition, multiplication or square root, never contracted
// (-ffp-contract=off), so the bits are the same whatever the vector width, the threads and the order of visits.
// Plain loops over 16 lanes are left to the compiler to vectorise; noise_reference.py says the same in numpy.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace {

constexpr int kRounds = 7;  // the fewest that pass BigCrush
constexpr int kLanes = 16;
constexpr int kWords = 4 * kLanes;         // 32-bit words of one generator call
constexpr int64_t kChunk = int64_t{1} << 15;  // elements that a thread takes at a time; a multiple of every tile

typedef uint64_t Half __attribute__((vector_size(64)));  // eight lanes, each in the low half of its 64 bits

// Low halves times m, in full. The compiler does not find this instruction by itself.
INLINE void multiply(const Half& a, uint32_t m, Half& product) {
#if defined(__AVX512F__)
  product = (Half)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(m));
#elif defined(__AVX2__)
  const char* from = reinterpret_cast<const char*>(&a);
  char* to = reinterpret_cast<char*>(&product);
  for (int i = 0; i < 64; i += 32) {
    const __m256i part = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_mul_epu32(part, _mm256_set1_epi64x(m)));
  }
#elif defined(__x86_64__)
  const char* from = reinterpret_cast<const char*>(&a);
  char* to = reinterpret_cast<char*>(&product);
  for (int i = 0; i < 64; i += 16) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm_mul_epu32(part, _mm_set1_epi64x(m)));
  }
#else
  product = (a & 0xffffffffu) * m;
#endif
}

// The words of counters (16 group + lane, tensor, kind) under the key (seed); word j of lane l at 16 j + l.
INLINE void philox(uint64_t seed, uint64_t group, uint32_t tensor, uint32_t kind, uint32_t* words) {
  Half a[2], b[2], c[2], d[2];
  const uint64_t first = group * kLanes;
  for (int h = 0; h < 2; ++h) {  // even lanes, odd lanes
    a[h] = (first + h) + Half{0, 2, 4, 6, 8, 10, 12, 14};
    b[h] = Half{} + (first >> 32);
    c[h] = Half{} + tensor;
    d[h] = Half{} + kind;
  }
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 7
  for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      Half p, q;  // upper halves of a, b, c and d hold rubbish, which the next multiplication ignores
      multiply(a[h], 0xD2511F53u, p);
      multiply(c[h], 0xCD9E8D57u, q);
      a[h] = (q >> 32) ^ b[h] ^ k0;
      b[h] = q;
      c[h] = (p >> 32) ^ d[h] ^ k1;
      d[h] = p;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const Half packed[4] = {(a[0] & 0xffffffffu) | (a[1] << 32), (b[0] & 0xffffffffu) | (b[1] << 32),
                          (c[0] & 0xffffffffu) | (c[1] << 32), (d[0] & 0xffffffffu) | (d[1] << 32)};
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "lanes are packed for little-endian machines"
#endif
  std::memcpy(words, packed, sizeof packed);
}

INLINE float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

INLINE uint32_t as_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// Two independent standard normal numbers from 31 + 32 bits; they reach to 6.5 standard deviations.
// log(1 + t) to 2.1e-7, sine to 5.6e-7 and cosine to 2.8e-8: minimax polynomials.
INLINE void box_muller(uint32_t u, uint32_t v, float& first, float& second) {
  // Radius: sqrt(-2 log(u / 2^31)), the odd u split into 2^exponent (1 + t) with 1 + t in [sqrt(1/2), sqrt(2)).
  const int32_t bits = static_cast<int32_t>(as_bits(static_cast<float>(static_cast<int32_t>((u & 0x7fffffffu) | 1))));
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float t = as_float(static_cast<uint32_t>(bits) - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
  float log = -0.23654980957508087f;
  log = log * t + 0.3780399262905121f;
  log = log * t - 0.41209352016448975f;
  log = log * t + 0.49762675166130066f;
  log = log * t - 0.6660659313201904f;
  log = log * t + 1.0000393390655518f;
  log = (log * t - 2.0000064373016357f) * t;
  const float radius = std::sqrt(log - static_cast<float>(exponent - 31) * 1.3862943611198906f);
  // Angle: 30 bits within [-pi/4, pi/4), then one bit that mirrors it and one that swaps the axes.
  const float x = static_cast<float>(static_cast<int32_t>(v << 2)) * 4.656612873077393e-10f;
  const float y = x * x;
  const float sine = ((0.0024271055590361357f * y - 0.08071399480104446f) * y + 0.7853942513465881f) * x * radius;
  float cosine = -0.0003188804548699409f;
  cosine = cosine * y + 0.015849914401769638f;
  cosine = cosine * y - 0.3084242641925812f;
  cosine = (cosine * y + 1.0f) * radius;
  cosine = as_float(as_bits(cosine) ^ (v & 0x80000000u));
  const bool swapped = v & 0x40000000u;
  first = swapped ? sine : cosine;
  second = swapped ? cosine : sine;
}

// Element i: lane i % 16 and word (i / 16) % 4 of call i / 64.
struct Gaussian {
  static constexpr int kTile = 4 * kWords;  // several calls at once keep the pipelines full
  static INLINE void fill(uint64_t seed, uint64_t tile, uint32_t tensor, float* z) {
    alignas(64) uint32_t words[kTile];
    for (int i = 0; i < kTile / kWords; ++i) philox(seed, tile * (kTile / kWords) + i, tensor, 0, words + i * kWords);
    for (int i = 0; i < kTile; i += 2 * kLanes)
      for (int l = i; l < i + kLanes; ++l) box_muller(words[l], words[l + kLanes], z[l], z[l + kLanes]);
  }
};

// Plus or minus one. Element i: bit i / 64 % 32 of word i % 64 of call i / 2048.
struct Sign {
  static constexpr int kTile = 32 * kWords;
  static INLINE void fill(uint64_t seed, uint64_t tile, uint32_t tensor, float* z) {
    alignas(64) uint32_t words[kWords];
    philox(seed, tile, tensor, 1, words);
    for (int bit = 0; bit < 32; ++bit)
      for (int l = 0; l < kWords; ++l)
        z[bit * kWords + l] = as_float(((words[l] << (31 - bit)) & 0x80000000u) | 0x3f800000u);
  }
};

struct BFloat16 {
  uint16_t bits;
};

INLINE float load(float value) { return value; }
INLINE double load(double value) { return value; }
INLINE float load(BFloat16 value) { return as_float(static_cast<uint32_t>(value.bits) << 16); }
INLINE void store(float value, float& to) { to = value; }
INLINE void store(double value, double& to) { to = value; }
INLINE void store(float value, BFloat16& to) {  // to the nearest, ties to even
  const uint32_t bits = as_bits(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  to.bits = static_cast<uint16_t>(value == value ? rounded : 0x7fc0u);
}

// `size` elements: out = in + sum of scale * noise. The first has index `start` in tensor number `tensor`.
struct Piece {
  void* out;
  const void* in;
  int64_t size, start, tensor;
};

// Elements low to high of one tile, whose element `low` is at *in and *out.
template <typename T, typename Kind>
INLINE void add_tile(T* out, const T* in, int64_t low, int64_t high, uint64_t tile, uint32_t tensor, int64_t terms,
                     const int64_t* seeds, const double* scales) {
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  alignas(64) float z[Kind::kTile];
  Kind::fill(static_cast<uint64_t>(seeds[0]), tile, tensor, z);
  Sum scale = static_cast<Sum>(scales[0]);
  if (terms == 1) {
    for (int64_t i = low; i < high; ++i) store(load(in[i - low]) + scale * static_cast<Sum>(z[i]), out[i - low]);
    return;
  }
  alignas(64) Sum sum[Kind::kTile];
  for (int64_t i = low; i < high; ++i) sum[i] = load(in[i - low]) + scale * static_cast<Sum>(z[i]);
  for (int64_t k = 1; k < terms; ++k) {
    Kind::fill(static_cast<uint64_t>(seeds[k]), tile, tensor, z);
    scale = static_cast<Sum>(scales[k]);
    for (int64_t i = low; i < high; ++i) sum[i] += scale * static_cast<Sum>(z[i]);
  }
  for (int64_t i = low; i < high; ++i) store(sum[i], out[i - low]);
}

template <typename T, typename Kind>
void add(const Piece& piece, int64_t begin, int64_t end, int64_t terms, const int64_t* seeds, const double* scales) {
  constexpr int64_t kTile = Kind::kTile;
  const uint32_t tensor = static_cast<uint32_t>(piece.tensor);
  begin += piece.start;
  end += piece.start;
  while (begin < end) {
    const int64_t tile = begin / kTile, low = begin - tile * kTile, high = std::min(end - tile * kTile, kTile);
    const T* in = static_cast<const T*>(piece.in) + (begin - piece.start);
    T* out = static_cast<T*>(piece.out) + (begin - piece.start);
    if (low == 0 && high == kTile)  // nearly always; constant bounds make it fast
      add_tile<T, Kind>(out, in, 0, kTile, tile, tensor, terms, seeds, scales);
    else
      add_tile<T, Kind>(out, in, low, high, tile, tensor, terms, seeds, scales);
    begin += high - low;
  }
}

struct Part {
  const Piece* piece;
  int64_t begin;
};

template <typename T, typename Kind>
void add_all(const Piece* pieces, int64_t count, int64_t terms, const int64_t* seeds, const double* scales, int threads) {
  std::vector<Part> parts;
  for (const Piece* piece = pieces; piece < pieces + count; ++piece)
    for (int64_t begin = 0; begin < piece->size; begin += kChunk) parts.push_back({piece, begin});
  const int64_t n = static_cast<int64_t>(parts.size());
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && n > 1)
  for (int64_t i = 0; i < n; ++i) {
    const auto [piece, begin] = parts[i];
    add<T, Kind>(*piece, begin, std::min(begin + kChunk, piece->size), terms, seeds, scales);
  }
}

}  // namespace

// dtype 0: float, 1: double, 2: bfloat16. kind 0: Gaussian, 1: sign.
extern "C" void add_noise(const void* pieces, int64_t count, int64_t terms, const void* seeds, const void* scales,
                          int dtype, int kind, int threads) {
  using Run = void (*)(const Piece*, int64_t, int64_t, const int64_t*, const double*, int);
  constexpr Run runs[3][2] = {{add_all<float, Gaussian>, add_all<float, Sign>},
                              {add_all<double, Gaussian>, add_all<double, Sign>},
                              {add_all<BFloat16, Gaussian>, add_all<BFloat16, Sign>}};
  runs[dtype][kind](static_cast<const Piece*>(pieces), count, terms, static_cast<const int64_t*>(seeds),
                    static_cast<const double*>(scales), threads);
}

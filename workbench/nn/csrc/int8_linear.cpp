// A linear layer over an int8 weight: rows of the input are quantized, multiplied as integers and scaled back.
//
// Rows are taken in blocks, so that the int32 products of a block stay in the cache and are never all alive. The
// product itself is torch's _int_mm (oneDNN), which takes the weight as it lies, in either direction: the same
// bytes serve the forward pass and the gradient of the input.

#include <ATen/Parallel.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace {

constexpr int64_t BLOCK = 128;  // rows whose products exist at once
constexpr int64_t GRAIN = 8;    // least rows a thread is given
constexpr float LARGEST = 127.0f;

// Largest magnitude of x * s. Magnitudes are compared as integers, where a NaN is larger than every number: it then
// becomes the row's scale and with it the whole row of the result.
float magnitude(const float* x, const float* s, int64_t n) {
  int32_t most = 0;
  if (s == nullptr) {
    for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  } else {
    for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<int32_t>(x[i] * s[i]) & 0x7fffffff);
  }
  return std::bit_cast<float>(most);
}

// Nearest integer of a number below 2^22: adding 1.5 * 2^23 leaves it in the low bits.
inline int8_t nearest(float x) {
  return static_cast<int8_t>(std::bit_cast<int32_t>(x + 12582912.0f) - std::bit_cast<int32_t>(12582912.0f));
}

// One row to int8; returns the factor that takes it back.
float quantize(const float* x, const float* s, int8_t* q, int64_t n) {
  const float most = magnitude(x, s, n);
  const float factor = most > 0 ? LARGEST / most : 0.0f;
  if (s == nullptr) {
    for (int64_t i = 0; i < n; ++i) q[i] = nearest(x[i] * factor);
  } else {
    for (int64_t i = 0; i < n; ++i) q[i] = nearest(x[i] * s[i] * factor);
  }
  return most / LARGEST;
}

void scale_back(const int32_t* a, float row, const float* column, const float* bias, float* y, int64_t n) {
  if (column == nullptr) {
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(a[i]) * row;
  } else if (bias == nullptr) {
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(a[i]) * row * column[i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(a[i]) * row * column[i] + bias[i];
  }
}

// (rows, inner) float32 by (inner, outer) int8. ``before`` scales the inner dimension, ``after`` the outer one.
at::Tensor product(const at::Tensor& input, const at::Tensor& weight, const float* before, const float* after,
                   const float* bias) {
  TORCH_CHECK(input.scalar_type() == at::kFloat, "an int8 layer takes float32 inputs, not ", input.scalar_type());
  TORCH_CHECK(weight.scalar_type() == at::kChar && input.size(-1) == weight.size(0), "shapes do not fit");
  const at::Tensor x = input.contiguous();
  const int64_t inner = weight.size(0), outer = weight.size(1), rows = inner ? x.numel() / inner : 0;
  auto shape = x.sizes().vec();
  shape.back() = outer;
  at::Tensor y = at::empty(shape, x.options());
  const int64_t block = std::min(rows, BLOCK);
  at::Tensor quantized = at::empty({block, inner}, weight.options());
  at::Tensor factors = at::empty({block}, x.options());
  at::Tensor products = at::empty({block, outer}, x.options().dtype(at::kInt));
  const float* source = x.const_data_ptr<float>();
  float* target = y.mutable_data_ptr<float>();
  int8_t* q = quantized.mutable_data_ptr<int8_t>();
  float* factor = factors.mutable_data_ptr<float>();
  for (int64_t start = 0; start < rows; start += block) {
    const int64_t count = std::min(block, rows - start);
    at::parallel_for(0, count, GRAIN, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i)
        factor[i] = quantize(source + (start + i) * inner, before, q + i * inner, inner);
    });
    at::Tensor some = products.narrow(0, 0, count);
    at::_int_mm_out(some, quantized.narrow(0, 0, count), weight);
    const int32_t* a = products.const_data_ptr<int32_t>();
    at::parallel_for(0, count, GRAIN, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i)
        scale_back(a + i * outer, factor[i], after, bias, target + (start + i) * outer, outer);
    });
  }
  return y;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale,
                  const std::optional<at::Tensor>& bias) {
  return product(x, weight.t(), nullptr, scale.const_data_ptr<float>(),
                 bias.has_value() ? bias->const_data_ptr<float>() : nullptr);
}

at::Tensor linear_backward(const at::Tensor& gradient, const at::Tensor& weight, const at::Tensor& scale) {
  return product(gradient, weight, scale.const_data_ptr<float>(), nullptr, nullptr);
}

}  // namespace

TORCH_LIBRARY(pintpot_int8, library) {
  library.def("linear(Tensor x, Tensor weight, Tensor scale, Tensor? bias) -> Tensor");
  library.def("linear_backward(Tensor gradient, Tensor weight, Tensor scale) -> Tensor");
}

TORCH_LIBRARY_IMPL(pintpot_int8, CPU, library) {
  library.impl("linear", &linear);
  library.impl("linear_backward", &linear_backward);
}

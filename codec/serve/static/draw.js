// Pictures that scroll to the left, a column for each frame.

const COLUMN = 3;

class Scroll {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.clear();
  }

  clear() {
    this.context.fillStyle = "#090c11";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  // Make room on the right; returns where the new column begins.
  shift() {
    const { width, height } = this.canvas;
    this.context.drawImage(this.canvas, -COLUMN, 0);
    this.context.fillStyle = "#090c11";
    this.context.fillRect(width - COLUMN, 0, COLUMN, height);
    return width - COLUMN;
  }
}

export class Wave extends Scroll {
  constructor(canvas, colour) {
    super(canvas);
    this.colour = colour;
  }

  // samples: Int16Array of one frame.
  add(samples) {
    const x = this.shift();
    const middle = this.canvas.height / 2;
    this.context.fillStyle = this.colour;
    for (let column = 0; column < COLUMN; column++) {
      const start = Math.floor((column * samples.length) / COLUMN);
      const stop = Math.floor(((column + 1) * samples.length) / COLUMN);
      let low = 0, high = 0;
      for (let i = start; i < stop; i++) {
        low = Math.min(low, samples[i]);
        high = Math.max(high, samples[i]);
      }
      const top = middle - loudness(high) * middle;
      const bottom = middle + loudness(-low) * middle;
      this.context.fillRect(x + column, top, 1, Math.max(1, bottom - top));
    }
  }
}

export class Spectrogram extends Scroll {
  // rate: Hz of the samples; frequencies up to `top` Hz are shown.
  constructor(canvas, top) {
    super(canvas);
    this.top = top;
    this.palette = Array.from({ length: 256 }, (_, i) => heat(i / 255));
    this.column = this.context.createImageData(COLUMN, canvas.height);
    this.reset(16000);
  }

  reset(rate) {
    this.rate = rate;
    this.size = rate > 24000 ? 2048 : 1024;
    this.past = new Float32Array(this.size);
    this.window = this.past.map((_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / this.size));
  }

  add(samples) {
    const count = Math.min(samples.length, this.size);
    this.past.copyWithin(0, count);
    for (let i = 0; i < count; i++) this.past[this.size - count + i] = samples[i] / 32768;
    const real = this.past.map((value, i) => value * this.window[i]);
    const imaginary = new Float32Array(this.size);
    fft(real, imaginary);
    const x = this.shift();
    const { height } = this.canvas;
    for (let y = 0; y < height; y++) {
      const bin = Math.round((((height - y) / height) * this.top * this.size) / this.rate);
      const power = real[bin] ** 2 + imaginary[bin] ** 2;
      const level = (10 * Math.log10(power / this.size + 1e-12) + 65) / 70;
      const colour = this.palette[Math.max(0, Math.min(255, Math.round(level * 255)))];
      for (let column = 0; column < COLUMN; column++) this.column.data.set(colour, 4 * (y * COLUMN + column));
    }
    this.context.putImageData(this.column, x, 0);
  }
}

export class TokenMatrix extends Scroll {
  setSize(codebooks, codebookSize) {
    this.rows = codebooks;
    // Codes have no order, so neighbours get colours that are far apart.
    this.palette = Array.from({ length: codebookSize }, (_, code) => {
      const hue = (code * 137.508) % 360;
      return `hsl(${hue.toFixed(0)} 65% ${42 + ((code * 7) % 5) * 6}%)`;
    });
  }

  // codes: K numbers of one frame; layers that were not sent stay dark.
  add(codes) {
    const x = this.shift();
    const height = this.canvas.height / this.rows;
    codes.forEach((code, layer) => {
      this.context.fillStyle = this.palette[code];
      this.context.fillRect(x, Math.round(layer * height), COLUMN, Math.round(height) - 1);
    });
  }
}

// Quiet speech would be a flat line if heights were amplitudes.
function loudness(sample) {
  return Math.sqrt(Math.max(0, sample) / 32768);
}

function heat(level) {
  const stops = [[9, 12, 17], [49, 24, 96], [160, 43, 110], [244, 124, 72], [252, 240, 180]];
  const place = level * (stops.length - 1);
  const index = Math.min(stops.length - 2, Math.floor(place));
  const mix = stops[index].map((from, i) => Math.round(from + (stops[index + 1][i] - from) * (place - index)));
  return [...mix, 255];
}

// In place, of a power of two.
function fft(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let length = 2; length <= size; length <<= 1) {
    const angle = (-2 * Math.PI) / length;
    for (let k = 0; k < length / 2; k++) {
      const cosine = Math.cos(angle * k), sine = Math.sin(angle * k);
      for (let start = k; start < size; start += length) {
        const other = start + length / 2;
        const re = real[other] * cosine - imaginary[other] * sine;
        const im = real[other] * sine + imaginary[other] * cosine;
        real[other] = real[start] - re;
        imaginary[other] = imaginary[start] - im;
        real[start] += re;
        imaginary[start] += im;
      }
    }
  }
}

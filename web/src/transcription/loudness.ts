/** How loud a sound is. */

/** Root mean square on a scale of decibels: -60 dB is 0, -6 dB is 1. */
export function loudness(samples: Float32Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  const decibels = 10 * Math.log10(sum / samples.length + 1e-12)
  return Math.min(1, Math.max(0, (decibels + 60) / 54))
}

/** The largest swing in each of `bars` equal pieces, the loudest being 1. */
export function peaksOf(samples: Float32Array, bars: number): Float32Array {
  const peaks = new Float32Array(bars)
  const width = samples.length / bars
  let loudest = 0
  for (let bar = 0; bar < bars; bar++) {
    let peak = 0
    for (let at = Math.floor(bar * width); at < Math.floor((bar + 1) * width); at++) {
      peak = Math.max(peak, Math.abs(samples[at] ?? 0))
    }
    peaks[bar] = peak
    loudest = Math.max(loudest, peak)
  }
  return loudest ? peaks.map((peak) => peak / loudest) : peaks
}

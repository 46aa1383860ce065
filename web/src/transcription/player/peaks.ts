/** The waveform that the server made: version 2 of audiowaveform's format, eight bits, one channel. */

export type Peaks = {
  /** Lowest and highest of each window, in turn, from -128 to 127. */
  values: Int8Array
  windows: number
}

const HEAD_BYTES = 24
const EIGHT_BITS = 1

/** Throws `RangeError` for what is no such file. */
export function peaksIn(content: ArrayBuffer): Peaks {
  const head = new DataView(content)
  const [version, flags, windows] = [head.getInt32(0, true), head.getUint32(4, true), head.getUint32(16, true)]
  if (version !== 2 || flags !== EIGHT_BITS || head.getInt32(20, true) !== 1) throw new RangeError('not peaks of this kind')
  return { values: new Int8Array(content, HEAD_BYTES, windows * 2), windows }
}

/** The largest swing in each of `bars` equal pieces, the loudest of all being 1. */
export function barsOf({ values, windows }: Peaks, bars: number): Float32Array {
  const found = new Float32Array(bars)
  let loudest = 0
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * windows) / bars)
    const to = Math.max(from + 1, Math.floor(((bar + 1) * windows) / bars))
    let peak = 0
    for (let at = from * 2; at < to * 2 && at < values.length; at++) peak = Math.max(peak, Math.abs(values[at] as number))
    found[bar] = peak
    loudest = Math.max(loudest, peak)
  }
  return loudest ? found.map((peak) => peak / loudest) : found
}

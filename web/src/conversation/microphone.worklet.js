// Runs on the audio thread: the microphone as int16 at 16 kHz, in pieces of 20 ms. Plain JavaScript: it is loaded as it is.
const RATE_HZ = 16000
const PIECE = 320

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super()
    this.step = sampleRate / RATE_HZ
    this.at = 0 // where the next sample lies in what has come, in samples of the source
    this.sum = 0
    this.count = 0
    this.piece = new Int16Array(PIECE)
    this.filled = 0
  }

  process(inputs) {
    const input = inputs[0]?.[0]
    if (!input) return true
    for (const sample of input) {
      // the mean of the source samples that fall into one of ours: a plain filter against aliasing
      this.sum += sample
      this.count += 1
      this.at += 1
      if (this.at < this.step) continue
      this.at -= this.step
      const value = Math.max(-1, Math.min(1, this.sum / this.count))
      this.piece[this.filled++] = Math.round(value * 32767)
      this.sum = this.count = 0
      if (this.filled === PIECE) {
        this.port.postMessage(this.piece.slice().buffer)
        this.filled = 0
      }
    }
    return true
  }
}

registerProcessor('milo-microphone', Microphone)

/** The reply as sound: sentences one behind the other without a gap, silent at once when told to be. */

const FADE_S = 0.02
const DUCKED = 0.25

export type SpeakerEvents = {
  /** The first sound of a turn leaves the loudspeaker at that moment of `performance.now()`. */
  onFirstSound: (turn: number, at: number) => void
  onPlaying: (playing: boolean) => void
}

/** Base64 decoded. Letter by letter: what takes a function for each holds the page up in a long sentence. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const letters = atob(text)
  const bytes = new Uint8Array(letters.length)
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at)
  return bytes
}

export class ReplyPlayer {
  private context: AudioContext | null = null
  private gain: GainNode | null = null
  private sources = new Set<AudioBufferSourceNode>()
  private until = 0
  private chain: Promise<void> = Promise.resolve()
  /** Counts up when playing is stopped: what was still being decoded then is not played. */
  private epoch = 0
  private told = new Set<number>()

  constructor(private readonly events: SpeakerEvents) {}

  /** To be called in a click: browsers give sound only to pages that were touched. */
  async wake(): Promise<void> {
    if (!this.context) {
      this.context = new AudioContext()
      this.gain = this.context.createGain()
      this.gain.connect(this.context.destination)
    }
    if (this.context.state === 'suspended') await this.context.resume().catch(() => undefined)
  }

  /** A wav file in base64, to be heard behind those before it. */
  add(turn: number, audio: string): void {
    const epoch = this.epoch
    this.chain = this.chain.then(() => this.play(turn, audio, epoch)).catch(() => undefined)
  }

  private async play(turn: number, audio: string, epoch: number): Promise<void> {
    await this.wake()
    const { context, gain } = this
    if (!context || !gain) return
    const bytes = bytesOf(audio)
    const buffer = await context.decodeAudioData(bytes.buffer)
    if (epoch !== this.epoch) return
    const source = context.createBufferSource()
    source.buffer = buffer
    source.connect(gain)
    const start = Math.max(context.currentTime + 0.01, this.until)
    this.until = start + buffer.duration
    source.start(start)
    if (!this.told.has(turn)) {
      this.told.add(turn)
      const late = context.outputLatency || context.baseLatency || 0
      this.events.onFirstSound(turn, performance.now() + (start - context.currentTime + late) * 1000)
    }
    if (!this.sources.size) this.events.onPlaying(true)
    this.sources.add(source)
    source.onended = () => {
      this.sources.delete(source)
      if (!this.sources.size && context.currentTime >= this.until - 0.05) this.events.onPlaying(false)
    }
  }

  /** Quieter while somebody may be speaking over it; back again when it was nothing. */
  duck(ducked: boolean): void {
    if (this.context && this.gain) this.gain.gain.setTargetAtTime(ducked ? DUCKED : 1, this.context.currentTime, FADE_S)
  }

  /** Silent within some 20 ms. */
  stop(): void {
    this.epoch += 1
    this.until = 0
    if (!this.context || !this.gain) return
    const playing = this.sources.size > 0
    const old = this.gain
    const now = this.context.currentTime
    old.gain.cancelScheduledValues(now)
    old.gain.setValueAtTime(old.gain.value, now)
    old.gain.linearRampToValueAtTime(0, now + FADE_S / 2)
    for (const source of this.sources) {
      source.onended = null
      source.stop(now + FADE_S)
    }
    this.sources.clear()
    this.gain = this.context.createGain()
    this.gain.connect(this.context.destination)
    setTimeout(() => old.disconnect(), FADE_S * 4000)
    if (playing) this.events.onPlaying(false)
  }

  close(): void {
    this.stop()
    void this.context?.close()
    this.context = null
  }
}

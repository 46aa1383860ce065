/** Recordings made here. Each second goes to the device's storage at once, so that a closed tab loses no more. */

import { create } from 'zustand'
import { all, drop, put, read } from '../app/device'
import { loudness } from './loudness'

export type Recording = {
  id: string
  name: string
  startedAt: number
  type: string
  /** `recording` after a restart means that the tab was closed in the middle. */
  state: 'recording' | 'waiting'
  language: string
  /** Where its upload lies, once one was begun. */
  upload?: string | null
}
type Piece = Blob

const PIECE_MS = 1000
/** What browsers can record, the smallest first. */
const TYPES = ['audio/webm;codecs=opus', 'audio/ogg;codecs=opus', 'audio/mp4', 'audio/webm']

type State = {
  /** Recordings that are on this device and not yet sent. */
  kept: Recording[]
  active: Recording | null
  level: number
  /** Why the recording stopped by itself. */
  lost: boolean
  load: () => Promise<void>
  start: (language: string, name: string) => Promise<void>
  stop: () => void
  discard: (id: string) => Promise<void>
}

let recorder: MediaRecorder | null = null

export const useRecordings = create<State>((set, state) => ({
  kept: [],
  active: null,
  level: 0,
  lost: false,

  async load() {
    const kept = await all<Recording>('recordings').catch(() => [])
    const active = state().active
    set({ kept: kept.filter((one) => one.id !== active?.id).sort((a, b) => a.startedAt - b.startedAt) })
  },

  async start(language, name) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true },
    })
    const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one)) ?? ''
    recorder = new MediaRecorder(stream, { ...(type && { mimeType: type }), audioBitsPerSecond: 48_000 })
    const recording: Recording = {
      id: `rec-${crypto.randomUUID()}`,
      name,
      startedAt: Date.now(),
      type: recorder.mimeType || type,
      state: 'recording',
      language,
    }
    await put('recordings', recording.id, recording)
    let index = 0
    let stored: Promise<unknown> = Promise.resolve()
    recorder.ondataavailable = (event) => {
      if (!event.data.size) return
      const key = [recording.id, index++]
      stored = stored.then(() => put('pieces', key, event.data))
    }
    const stopMeter = meter(stream, (level) => set({ level }))
    const wake = navigator.wakeLock?.request('screen').catch(() => null)
    stream.getTracks()[0]?.addEventListener('ended', () => {
      set({ lost: true }) // the system took the microphone away
      state().stop()
    })
    recorder.onstop = async () => {
      stopMeter()
      for (const track of stream.getTracks()) track.stop()
      void wake?.then((lock) => lock?.release())
      await stored
      await put('recordings', recording.id, { ...recording, state: 'waiting' })
      recorder = null
      set({ active: null, level: 0 })
      await state().load()
    }
    recorder.start(PIECE_MS)
    set({ active: recording, lost: false })
  },

  stop() {
    if (recorder && recorder.state !== 'inactive') recorder.stop()
  },

  async discard(id) {
    await drop('recordings', id)
    await drop('pieces', piecesOf(id))
    await state().load()
  },
}))

function piecesOf(id: string): IDBKeyRange {
  return IDBKeyRange.bound([id, 0], [id, Number.MAX_SAFE_INTEGER])
}

/** The sound of a recording, put together from its pieces. */
export async function soundOf(recording: Recording): Promise<Blob> {
  return new Blob(await all<Piece>('pieces', piecesOf(recording.id)), { type: recording.type })
}

/** Note where its upload lies, so that another visit goes on with it. */
export async function keepPlace(id: string, upload: string | null): Promise<void> {
  const kept = await read<Recording>('recordings', id)
  if (kept) await put('recordings', id, { ...kept, upload })
}

/** Calls `tell` with the loudness, 0 to 1, several times a second. */
export function meter(stream: MediaStream, tell: (level: number) => void): () => void {
  const context = new AudioContext()
  const analyser = context.createAnalyser()
  analyser.fftSize = 1024
  context.createMediaStreamSource(stream).connect(analyser)
  const samples = new Float32Array(analyser.fftSize)
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples)
    tell(loudness(samples))
  }, 80)
  return () => {
    clearInterval(timer)
    void context.close()
  }
}

/** A text that is read aloud sentence by sentence: the first is heard while the next are made. */

import { useCallback, useEffect, useRef, useState } from 'react'
import { type Sentence, type Voice, speak } from './speak'

export type Take = { sound: Blob; voice: Voice }
export type Line = Sentence & { takes: Take[]; chosen: number; making: boolean; error: unknown }

/** So many sentences are made ahead of the one that is heard. */
const AHEAD = 2

export function useReading() {
  const [lines, setLines] = useState<Line[]>([])
  const [heard, setHeard] = useState(-1)
  const current = useRef<Line[]>([])
  const running = useRef<AbortController | null>(null)
  const audio = useRef<HTMLAudioElement | null>(null)

  const update = useCallback((next: Line[]) => {
    current.current = next
    setLines(next)
  }, [])
  const change = useCallback(
    (index: number, changes: Partial<Line>) =>
      update(current.current.map((line, at) => (at === index ? { ...line, ...changes } : line))),
    [update],
  )

  const stop = useCallback(() => {
    running.current?.abort()
    running.current = null
    audio.current?.pause()
    setHeard(-1)
    update(current.current.map((line) => (line.making ? { ...line, making: false } : line)))
  }, [update])

  useEffect(() => stop, [stop])

  const load = useCallback(
    (sentences: Sentence[]) => {
      stop()
      update(sentences.map((one) => ({ ...one, takes: [], chosen: 0, making: false, error: null })))
    },
    [stop, update],
  )

  /** Make one more take of a sentence. */
  const make = useCallback(
    async (index: number, voice: Voice, signal: AbortSignal) => {
      const line = current.current[index]
      if (!line?.spoken) return
      change(index, { making: true, error: null })
      try {
        const sound = await speak(line.text, voice, 'wav', signal)
        const takes = [...(current.current[index]?.takes ?? []), { sound, voice }]
        change(index, { takes, chosen: takes.length - 1, making: false })
      } catch (error) {
        change(index, { making: false, error: signal.aborted ? null : error })
        throw error
      }
    },
    [change],
  )

  const hear = useCallback(async (index: number, signal: AbortSignal) => {
    const line = current.current[index]
    const take = line?.takes[line.chosen]
    if (!take) return
    setHeard(index)
    const url = URL.createObjectURL(take.sound)
    const element = (audio.current ??= new Audio())
    element.src = url
    await new Promise<void>((resolve) => {
      element.onended = element.onerror = () => resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
      element.play().catch(() => resolve())
    })
    URL.revokeObjectURL(url)
  }, [])

  /** Read from a sentence on; to hear that one alone, `only`. */
  const play = useCallback(
    async (from: number, voice: Voice, only = false) => {
      stop()
      const control = new AbortController()
      running.current = control
      const { signal } = control
      const last = only ? from : current.current.length - 1
      const made = new Map<number, Promise<void>>()
      const ahead = (index: number) => {
        const line = current.current[index]
        if (index > last || !line || line.takes.length || made.has(index)) return
        made.set(index, make(index, voice, signal))
        made.get(index)?.catch(() => undefined)
      }
      try {
        for (let index = from; index <= last && !signal.aborted; index++) {
          for (let next = index; next <= index + AHEAD; next++) ahead(next)
          await made.get(index)
          if (!signal.aborted) await hear(index, signal)
        }
      } catch {
        // the line shows its error
      }
      if (running.current === control) stop()
    },
    [hear, make, stop],
  )

  const again = useCallback(
    async (index: number, voice: Voice) => {
      stop()
      const control = new AbortController()
      running.current = control
      await make(index, voice, control.signal).then(() => hear(index, control.signal)).catch(() => undefined)
      if (running.current === control) stop()
    },
    [hear, make, stop],
  )

  const choose = useCallback((index: number, chosen: number) => change(index, { chosen }), [change])
  return { lines, heard, load, play, again, choose, stop }
}

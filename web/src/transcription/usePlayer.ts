/** The sound of a recording and where it is. Time is told to those who listen, not by rendering the page. */

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'

export type Player = {
  ready: boolean
  playing: boolean
  rate: number
  duration: number
  now: () => number
  seek: (seconds: number) => void
  toggle: () => void
  setRate: (rate: number) => void
  /** `listener` is called for each frame while it plays, and after each jump. */
  listen: (listener: (seconds: number) => void) => () => void
}

export const RATES = [0.5, 0.75, 1, 1.25, 1.5, 2]

export function usePlayer(sound: Blob | null, length: number): Player {
  const audio = useRef<HTMLAudioElement | null>(null)
  const listeners = useRef(new Set<(seconds: number) => void>())
  const [playing, setPlaying] = useState(false)
  const [rate, setRateState] = useState(1)
  const [ready, setReady] = useState(false)

  const tell = useCallback(() => {
    for (const listener of listeners.current) listener(audio.current?.currentTime ?? 0)
  }, [])

  useEffect(() => {
    if (!sound) return
    const url = URL.createObjectURL(sound)
    const element = new Audio(url)
    element.preload = 'auto'
    element.preservesPitch = true
    audio.current = element
    let frame = 0
    const each = () => {
      tell()
      frame = requestAnimationFrame(each)
    }
    element.onplay = () => {
      setPlaying(true)
      each()
    }
    element.onpause = element.onended = () => {
      setPlaying(false)
      cancelAnimationFrame(frame)
    }
    element.onseeked = tell
    element.onloadedmetadata = () => setReady(true)
    return () => {
      element.pause()
      cancelAnimationFrame(frame)
      URL.revokeObjectURL(url)
      audio.current = null
      setReady(false)
      setPlaying(false)
    }
  }, [sound, tell])

  return useMemo(
    () => ({
      ready,
      playing,
      rate,
      duration: length,
      now: () => audio.current?.currentTime ?? 0,
      seek(seconds) {
        if (!audio.current) return
        audio.current.currentTime = Math.min(length, Math.max(0, seconds))
        tell()
      },
      toggle() {
        const element = audio.current
        if (!element) return
        if (element.paused) void element.play().catch(() => setPlaying(false))
        else element.pause()
      },
      setRate(next) {
        setRateState(next)
        if (audio.current) audio.current.playbackRate = next
      },
      listen(listener) {
        listeners.current.add(listener)
        return () => listeners.current.delete(listener)
      },
    }),
    [ready, playing, rate, length, tell],
  )
}

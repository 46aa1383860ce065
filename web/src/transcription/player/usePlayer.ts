/** The sound of the recording that is open: one for the whole page, since one is heard at a time.
 *
 * `time_s` changes ten times a second while it plays; who must follow each word listens instead, and is told each frame.
 */

import { create } from 'zustand'
import { ApiError } from '../../api/client'
import { noteFailure, useConnection } from '../../app/connection'
import { queryClient } from '../../app/queryClient'
import { linkTo } from './sound'

export const RATES = [0.5, 0.75, 1, 1.25, 1.5, 2]
const TOLD_S = 0.1
/** Waits before another link is asked for, after one in a row has failed. One may have ended, or the server was restarted;
 * a key that was revoked is refused after some seconds at the latest. After these, the recording can't be played. */
const AGAIN_MS = [0, 4000]

export type Sound = 'none' | 'loading' | 'ready' | 'failed'

export type Player = {
  time_s: number
  playing: boolean
  rate: number
  /** Whether there is something to play. */
  sound: Sound
  error: unknown
  duration_s: number
  seek: (time_s: number) => void
  toggle: () => void
  setRate: (rate: number) => void
}

type Listener = (time_s: number) => void

const element = typeof Audio === 'undefined' ? null : new Audio() // none in tests of logic
const listeners = new Set<Listener>()
let jobId = ''
let ours = ''
let leaving = new AbortController()
let failures = 0
let frame = 0
/** Where to go as soon as there is something to play. */
let wanted: { time_s: number; play: boolean } | null = null

export const usePlayer = create<Player>((set, state) => ({
  time_s: 0,
  playing: false,
  rate: 1,
  sound: 'none',
  error: null,
  duration_s: 0,

  seek(time_s) {
    const to = Math.min(state().duration_s, Math.max(0, time_s))
    if (element && state().sound === 'ready') element.currentTime = to
    else wanted = { time_s: to, play: wanted?.play ?? false }
    tell(to)
  },

  toggle() {
    if (!element) return
    if (state().sound === 'loading') wanted = { time_s: state().time_s, play: !wanted?.play }
    else if (element.paused) void element.play().catch(() => set({ playing: false }))
    else element.pause()
  },

  setRate(rate) {
    set({ rate })
    if (element) element.playbackRate = element.defaultPlaybackRate = rate
  },
}))

/** `listener` is called with the time of each frame while it plays, and after each jump. */
export function listen(listener: Listener): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** To the millisecond; `time_s` may be a tenth of a second old. */
export function timeNow(): number {
  const { sound, time_s } = usePlayer.getState()
  return element && sound === 'ready' ? element.currentTime : time_s
}

/** Open the sound of a job: what is on this device, else the server's. Returns how to close it again. */
export function openSound(id: string, duration_s: number, here?: Blob): () => void {
  closeSound()
  jobId = id
  usePlayer.setState({ sound: 'loading', duration_s, time_s: 0, error: null })
  if (here) play((ours = URL.createObjectURL(here)))
  else void fetchLink()
  return () => {
    if (jobId === id) closeSound()
  }
}

/** Ask for the sound again, after it could not be had. */
export function tryAgain(): void {
  usePlayer.setState({ sound: 'loading', error: null })
  failures = 0
  void fetchLink()
}

function closeSound(): void {
  leaving.abort()
  leaving = new AbortController()
  jobId = ''
  wanted = null
  failures = 0
  element?.pause()
  element?.removeAttribute('src')
  element?.load() // gives up the connection
  if (ours) URL.revokeObjectURL(ours)
  ours = ''
  usePlayer.setState({ sound: 'none', playing: false, time_s: 0, error: null })
}

async function fetchLink(signal = leaving.signal): Promise<void> {
  if (signal.aborted) return
  try {
    const url = await linkTo(jobId, signal)
    if (signal.aborted) return
    play(url)
  } catch (error) {
    if (signal.aborted) return
    noteFailure(error, queryClient)
    usePlayer.setState({ sound: 'failed', error })
  }
}

function play(url: string): void {
  if (!element) return
  element.preload = 'auto'
  element.preservesPitch = true
  element.src = url
  element.playbackRate = element.defaultPlaybackRate = usePlayer.getState().rate
}

function tell(time_s: number): void {
  if (Math.abs(time_s - usePlayer.getState().time_s) >= TOLD_S || !usePlayer.getState().playing) usePlayer.setState({ time_s })
  for (const listener of listeners) listener(time_s)
}

if (element) {
  const each = () => {
    tell(element.currentTime)
    frame = requestAnimationFrame(each)
  }
  element.onplay = () => {
    usePlayer.setState({ playing: true })
    cancelAnimationFrame(frame)
    each()
  }
  element.onpause = element.onended = () => {
    cancelAnimationFrame(frame)
    usePlayer.setState({ playing: false })
  }
  element.onseeked = () => tell(element.currentTime)
  element.onloadedmetadata = () => {
    failures = 0
    usePlayer.setState({ sound: 'ready' })
    const then = wanted
    wanted = null
    if (then?.time_s) element.currentTime = then.time_s
    if (then?.play) void element.play().catch(() => undefined)
  }
  element.onerror = () => {
    if (!jobId || !element.src) return
    wanted ??= { time_s: timeNow(), play: usePlayer.getState().playing }
    usePlayer.setState({ sound: 'loading', playing: false })
    cancelAnimationFrame(frame)
    const wait = ours ? undefined : AGAIN_MS[failures++]
    if (wait !== undefined) return void setTimeout(fetchLink, wait, leaving.signal)
    usePlayer.setState({
      sound: 'failed',
      error: new ApiError({ status: 415, code: 'not_playable', title: '', detail: '' }),
    })
  }
  useConnection.subscribe(({ state }) => {
    const { sound, error } = usePlayer.getState()
    if (state === 'there' && sound === 'failed' && error instanceof ApiError && error.status === 0) tryAgain()
  })
}

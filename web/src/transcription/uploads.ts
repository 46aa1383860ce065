/** Files on their way to the server: two at a time. One that breaks goes on by itself from where it was. */

import { create } from 'zustand'
import { ApiError, post } from '../api/client'
import type { Job } from '../api/types'
import { useConnection } from '../app/connection'
import { keepPlace, soundOf, useRecordings } from './recordings'
import { type Place, sendByPieces } from './tus'

export type Upload = {
  id: string
  name: string
  size: number
  state: 'waiting' | 'sending' | 'failed' | 'sent'
  share: number
  error: unknown
  language: string
  content: () => Promise<Blob>
  /** A recording of this device: dropped from it when it has arrived. */
  recording?: string
  /** How far the server has got with it. */
  place: Place
  jobId?: string
}

const AT_ONCE = 2
const AGAIN_MS = 3000

type State = {
  items: Upload[]
  /** Called with each job that was made. */
  add: (files: { name: string; content: Blob }[], language: string) => void
  addRecordings: () => void
  retry: (id: string) => void
  remove: (id: string) => void
}

/** Sounds of this tab by job: heard at once, without fetching what was just sent. */
const sounds = new Map<string, Blob>()
export const soundOfJob = (jobId: string): Blob | undefined => sounds.get(jobId)
export const keepSound = (jobId: string, sound: Blob): void => void sounds.set(jobId, sound)

let made: (job: Job) => void = () => undefined
export const onJobMade = (listener: (job: Job) => void): void => {
  made = listener
}

export const useUploads = create<State>((set, state) => ({
  items: [],

  add(files, language) {
    const added = files.map(
      ({ name, content }): Upload => ({
        ...fresh(`up-${crypto.randomUUID()}`, name, language),
        size: content.size,
        content: () => Promise.resolve(content),
      }),
    )
    set({ items: [...state().items, ...added] })
    pump()
  },

  addRecordings() {
    const known = new Set(state().items.map((one) => one.recording))
    const added = useRecordings
      .getState()
      .kept.filter((one) => !known.has(one.id))
      .map(
        (one): Upload => ({
          ...fresh(one.id, `${one.name}.${one.type.includes('mp4') ? 'm4a' : one.type.includes('ogg') ? 'ogg' : 'webm'}`, one.language),
          content: () => soundOf(one),
          recording: one.id,
          place: { url: one.upload ?? null },
        }),
      )
    if (added.length) set({ items: [...state().items, ...added] })
    pump()
  },

  retry(id) {
    change(id, { state: 'waiting', error: null })
    pump()
  },

  remove(id) {
    const one = state().items.find((item) => item.id === id)
    set({ items: state().items.filter((item) => item.id !== id) })
    if (one?.recording) void useRecordings.getState().discard(one.recording)
  },
}))

function fresh(id: string, name: string, language: string): Upload {
  return { id, name, size: 0, state: 'waiting', share: 0, error: null, language, content: async () => new Blob(), place: { url: null } }
}

function change(id: string, changes: Partial<Upload>): void {
  useUploads.setState(({ items }) => ({ items: items.map((one) => (one.id === id ? { ...one, ...changes } : one)) }))
}

function pump(): void {
  const { items } = useUploads.getState()
  const free = AT_ONCE - items.filter((one) => one.state === 'sending').length
  for (const one of items.filter((item) => item.state === 'waiting').slice(0, Math.max(0, free))) void sendOne(one)
}

async function sendOne(one: Upload): Promise<void> {
  change(one.id, { state: 'sending' })
  try {
    const content = await one.content()
    if (!content.size) throw new ApiError({ status: 422, code: 'empty', title: '', detail: '' })
    change(one.id, { size: content.size })
    let kept = one.place.url
    const blob = await sendByPieces(content, one.place, (share) => {
      change(one.id, { share })
      if (one.recording && kept !== one.place.url) void keepPlace(one.recording, (kept = one.place.url))
    })
    const job = await post<Job>(
      '/stt',
      { blob, name: one.name, ...(one.language && { language: one.language }) },
      // sent again under the same key, it is the same job
      { headers: { 'Idempotency-Key': one.id, Prefer: 'respond-async' } },
    )
    sounds.set(job.id, content)
    change(one.id, { state: 'sent', share: 1, jobId: job.id })
    if (one.recording) await useRecordings.getState().discard(one.recording)
    made(job)
    setTimeout(() => useUploads.setState(({ items }) => ({ items: items.filter((item) => item.id !== one.id) })), 1500)
  } catch (error) {
    const passes = error instanceof ApiError && [0, 423, 429, 502, 503, 504].includes(error.status)
    change(one.id, { state: 'failed', error })
    if (passes) setTimeout(() => again(one.id), ((error as ApiError).problem.retryAfterS ?? 0) * 1000 || AGAIN_MS)
  }
  pump()
}

function again(id: string): void {
  if (useUploads.getState().items.find((one) => one.id === id)?.state !== 'failed') return
  if (navigator.onLine) useUploads.getState().retry(id)
  else addEventListener('online', () => useUploads.getState().retry(id), { once: true })
}

useConnection.subscribe(({ state }) => {
  if (state !== 'there') return
  for (const one of useUploads.getState().items) {
    if (one.state === 'failed' && one.error instanceof ApiError && one.error.status === 0) useUploads.getState().retry(one.id)
  }
})

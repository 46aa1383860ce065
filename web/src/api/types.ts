/** Names for the documents of the API. `schema.d.ts` is made from /openapi.json by `make check`. */

import type { components } from './schema'

type Schemas = components['schemas']

export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled'
export type Job = Omit<Schemas['JobDocument'], 'state' | 'error' | 'payload'> & {
  state: JobState
  error: { code?: string; title?: string; detail?: string } | null
  payload: Record<string, unknown> & { source?: { name?: string; blob?: string | null }; name?: string; text?: string }
}
export type Page<T> = { items: T[]; next: string | null }
export type Word = { word: string; start: number; end: number; probability: number; interpolated?: boolean }
export type Segment = {
  id: number
  start: number
  end: number
  text: string
  confidence: number
  language?: string
  speaker?: string | null
  words: Word[]
}
export type Transcript = {
  text: string
  language: string | null
  duration: number
  speech_s: number
  confidence: number | null
  segments: Segment[]
  model: string
  warnings: string[]
  /** How often people have edited it. */
  revision?: number
}
/** What a revision changed against the one before it. */
export type Changes = {
  fields: { segment: number; before: Partial<Segment>; after: Partial<Segment> }[]
  splices: { at: number; removed: Segment[]; added: Segment[] }[]
}
export type Revision = Omit<Schemas['RevisionDocument'], 'changes' | 'action'> & {
  action: 'edit' | 'undo' | 'redo' | 'restore'
  changes?: Changes | null
}
export type CueList = Schemas['CueList']
export type Consent = Schemas['ConsentDocument']
export type Model = {
  name: string
  current: string | null
  versions: string[]
  default: boolean
  use: 'stt' | 'tts' | 'translate' | 'chat' | null
  available?: boolean
  problem?: string
  label?: string
  type?: string
  languages?: string[]
  voices?: string[]
  parameters?: number
  weights_bytes?: number
}

export const isFinal = (job: { state: string }): boolean => !['queued', 'running'].includes(job.state)

/** The text that is being edited: what the server has, the edits on their way to it, and what is seen of both.
 *
 * An edit is seen at once, kept on this device until it is confirmed, and sent in its turn. Where somebody else was faster,
 * theirs is put under mine; what touches the same passage waits for a choice.
 */

import { type StoreApi, createStore } from 'zustand'
import { ApiError, get, post } from '../../api/client'
import type { Revision, Segment, Transcript } from '../../api/types'
import { noteFailure } from '../../app/connection'
import { all, drop, put } from '../../app/device'
import { queryClient } from '../../app/queryClient'
import { useSession } from '../../app/session'
import { type Conflict, type Step, ahead, chosen, rebased, renamed, without } from './conflicts'
import { type Operation, newSegments, replayed } from './operations'

export type Saving = 'saved' | 'saving' | 'waiting'

export type Editing = {
  /** The revision that the server has, its segments, and those with my edits. */
  revision: number
  base: readonly Segment[]
  segments: readonly Segment[]
  pending: readonly Step[]
  saving: Saving
  conflicts: readonly Conflict[]
  /** What the server did not take, or what others did meanwhile. */
  notice: ApiError | 'overtaken' | null
  /** Ids that a segment had before the server gave it one: rows keep their place on the page by these. */
  aliases: ReadonlyMap<number, number>
  edit: (...operations: Operation[]) => void
  go: (action: 'undo' | 'redo' | 'restore', revision?: number) => void
  /** The texts chosen, one for each conflict in turn; null: the passage is removed. */
  choose: (texts: readonly (string | null)[]) => void
  /** See what others did, if anything. */
  refresh: () => Promise<void>
  dismiss: () => void
}

type Kept = { key: string; revision: number; pending: Step[] }

/** The edits of this page: another one of the same person keeps its own. */
const PAGE = crypto.randomUUID()

const LONGEST_WAIT_MS = 15_000
const opened = new Map<string, StoreApi<Editing>>()
let lastNewId = 0

/** The editing of a transcript: one for a page, whoever asks. */
export function editingOf(jobId: string, transcript: Transcript): StoreApi<Editing> {
  let store = opened.get(jobId)
  if (!store) {
    store = open(jobId, transcript)
    opened.set(jobId, store)
  }
  return store
}

/** Resolves when every edit of the transcript is with the server, or waits for a person. */
export function settled(jobId: string): Promise<void> {
  const store = opened.get(jobId)
  return new Promise((resolve) => {
    const over = (now?: Editing) => !now || now.saving !== 'saving' || now.conflicts.length > 0
    if (over(store?.getState())) return resolve()
    const stop = store?.subscribe((now) => {
      if (!over(now)) return
      stop?.()
      resolve()
    })
  })
}

const path = (jobId: string) => `/transcripts/${jobId}/revisions`

function open(jobId: string, transcript: Transcript): StoreApi<Editing> {
  const keptBy = `${useSession.getState().who?.name ?? ''} edits ${jobId} `
  const keptAs = keptBy + PAGE
  let sending = false

  const store = createStore<Editing>((set, state) => ({
    revision: transcript.revision ?? 0,
    base: transcript.segments,
    segments: transcript.segments,
    pending: [],
    saving: 'saved',
    conflicts: [],
    notice: null,
    aliases: new Map(),

    edit(...operations) {
      const newId = lastNewId - 1
      lastNewId -= newSegments(operations)
      add({ key: crypto.randomUUID(), action: 'edit', operations, newId })
    },
    go(action, revision) {
      add({ key: crypto.randomUUID(), action, operations: [], revision, newId: 0 })
    },
    choose(texts) {
      const { conflicts, base, pending } = state()
      const rest = without(pending, conflicts)
      const operations = conflicts.flatMap((one, at) => chosen(one, texts[at] ?? null))
      const steps = operations.length ? [{ key: crypto.randomUUID(), action: 'edit' as const, operations, newId: 0 }] : []
      show(base, [...steps, ...rest], { conflicts: [] })
      void sendAll()
    },
    async refresh() {
      if (sending || state().conflicts.length) return
      const since = await revisionsSince(jobId, state().revision)
      if (since.length && !sending) await catchUp(since)
    },
    dismiss() {
      set({ notice: null })
    },
  }))

  function show(base: readonly Segment[], pending: readonly Step[], more: Partial<Editing> = {}): void {
    store.setState({ base, pending, segments: ahead(base, pending), ...more })
    void keep(keptAs, store.getState())
  }

  function add(step: Step): void {
    const { base, segments, pending } = store.getState()
    // the new step alone is put on what is seen already
    store.setState({ segments: ahead(segments, [step]), pending: [...pending, step], base, notice: null })
    void keep(keptAs, store.getState())
    void sendAll()
  }

  async function sendAll(): Promise<void> {
    if (sending) return
    sending = true
    let wait = 1000
    try {
      for (let step = store.getState().pending[0]; step; step = store.getState().pending[0]) {
        if (store.getState().conflicts.length) return
        store.setState({ saving: 'saving' })
        try {
          await sendOne(step)
          wait = 1000
        } catch (error) {
          if (!(error instanceof ApiError) || !passes(error)) return // the key ended: the edits are kept
          noteFailure(error, queryClient)
          store.setState({ saving: 'waiting' })
          await pause(error.problem.retryAfterS ? error.problem.retryAfterS * 1000 : wait)
          wait = Math.min(LONGEST_WAIT_MS, wait * 2)
        }
      }
      store.setState({ saving: 'saved' })
    } finally {
      sending = false
      if (store.getState().pending.length) store.setState({ saving: 'waiting' })
    }
  }

  async function sendOne(step: Step): Promise<void> {
    const { revision } = store.getState()
    const { action, operations, key } = step
    const json = action === 'edit' ? { operations } : action === 'restore' ? { action, revision: step.revision } : { action }
    try {
      const headers = { 'If-Match': `"r${revision}"`, 'Idempotency-Key': key }
      confirm(step, await post<Revision>(path(jobId), json, { headers }))
    } catch (error) {
      if (!(error instanceof ApiError) || passes(error) || error.status === 401) throw error
      if (error.status === 412) return catchUp((error.problem.since ?? []) as Revision[])
      const { base, pending } = store.getState()
      show(base, pending.filter((one) => one !== step), { notice: error.code === 'no_change' ? null : error })
    }
  }

  function confirm(step: Step, answer: Revision): void {
    const { base, pending, aliases } = store.getState()
    const changes = answer.changes ?? { fields: [], splices: [] }
    const { steps, ids } = renamed(pending.filter((one) => one !== step), step, changes)
    const names = ids.size ? new Map([...aliases, ...[...ids].map(([made, real]) => [real, made] as const)]) : aliases
    show(replayed(base, changes), steps, { revision: answer.revision, aliases: names })
    queryClient.setQueryData<Transcript>(['transcript', jobId], (old) => old && { ...old, ...kept(store.getState()) })
  }

  /** What others did, the newest first. */
  async function catchUp(since: Revision[]): Promise<void> {
    const { revision, base, pending } = store.getState()
    const later = since.filter((one) => one.revision > revision).sort((a, b) => a.revision - b.revision)
    const newest = later.at(-1)?.revision ?? revision
    const steps = pending.filter((one) => one.action === 'edit') // undo, redo and restore were meant for another text
    const notice = steps.length < pending.length ? 'overtaken' : store.getState().notice
    if (later.length && later.length === newest - revision && later.every((one) => one.changes)) {
      const under = rebased(base, steps, later)
      return show(under.base, steps, { revision: newest, conflicts: under.conflicts, notice })
    }
    const whole = await get<Transcript>(`/transcripts/${jobId}`) // too much was done to be told one by one
    const under = rebased(base, steps, [asOne(base, whole)])
    show(whole.segments, steps, { revision: whole.revision ?? 0, conflicts: under.conflicts, notice })
  }

  void takeUp(jobId, keptBy).then((found) => {
    if (!found || store.getState().pending.length) return
    show(found.base, found.pending, { revision: found.revision })
    void sendAll()
  })
  return store
}

const kept = ({ revision, base }: Editing) => ({ revision, segments: base as Segment[] })

/** Whether an edit may succeed if it is sent again as it is. */
const passes = (error: ApiError): boolean => error.status === 0 || error.status === 429 || error.status >= 500

const pause = (ms: number) =>
  new Promise<void>((resolve) => {
    const over = () => {
      clearTimeout(timer)
      removeEventListener('online', over)
      resolve()
    }
    const timer = setTimeout(over, ms)
    addEventListener('online', over)
  })

async function revisionsSince(jobId: string, revision: number): Promise<Revision[]> {
  const { items } = await get<{ items: Revision[] }>(`${path(jobId)}?limit=50`)
  const later = items.filter((one) => one.revision > revision)
  if (later.length > 20) return later // without what they changed: the whole text is fetched
  return Promise.all(later.map((one) => get<Revision>(`${path(jobId)}/${one.revision}`)))
}

/** All that differs between two texts, as if somebody had done it at once. */
function asOne(base: readonly Segment[], { segments, revision = 0 }: Transcript): Revision {
  const now = new Map(segments.map((one) => [one.id, one]))
  const fields = base.flatMap((before) => {
    const after = now.get(before.id)
    return after && after.text !== before.text ? [{ segment: before.id, before, after }] : []
  })
  const removed = base.flatMap((one, at) => (now.has(one.id) ? [] : [{ at, removed: [one], added: [] }]))
  const changes = { fields, splices: removed }
  const who = { author: '', created_at: new Date().toISOString(), operations: [], url: '', transcript_id: '' }
  return { ...who, revision, action: 'edit', state: revision, changes }
}

async function keep(key: string, { revision, pending }: Editing): Promise<void> {
  const kept: Kept = { key, revision, pending: [...pending] }
  await (pending.length ? put('documents', key, kept) : drop('documents', key)).catch(() => undefined)
}

/** Edits that a page was closed with before they were confirmed, and the text that they were made for. Sent twice, by a page
 * that is still open, they are done once. */
async function takeUp(jobId: string, keptBy: string): Promise<(Kept & { base: Segment[] }) | null> {
  try {
    const [found] = await all<Kept>('documents', IDBKeyRange.bound(keptBy, `${keptBy}~`))
    if (!found) return null
    lastNewId = Math.min(lastNewId, ...found.pending.map((one) => one.newId - newSegments(one.operations)))
    const answer = await get<Transcript>(`/transcripts/${jobId}?revision=${found.revision}`)
    await drop('documents', found.key)
    return { ...found, base: answer.segments }
  } catch {
    return null
  }
}

useSession.subscribe((session) => session.state === 'asking' && opened.clear()) // the next key has texts of its own

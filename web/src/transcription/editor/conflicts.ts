/** Edits of two people on one text: which of mine still fit what the others did, and which need a choice. */

import type { Changes, Revision, Segment } from '../../api/types'
import { type Operation, applied, newSegments, replayed } from './operations'

/** An edit that the server does not have yet. */
export type Step = {
  /** Sent with it, so that it is done once however often it is sent. */
  key: string
  action: 'edit' | 'undo' | 'redo' | 'restore'
  operations: Operation[]
  /** What a restore brings back. */
  revision?: number
  /** The id of the first segment that it makes, below zero until the server gives one. */
  newId: number
}

/** A passage that somebody else has changed meanwhile, and I too. */
export type Conflict = {
  /** Its segments, before both of us; more than one where I made one of them. Those that I split off are below zero. */
  segments: number[]
  before: Segment | null
  /** What they left of it; nothing: they removed it. */
  theirs: Segment[]
  /** The text that I had made of it; nothing: I removed it. */
  mine: string | null
  author: string
  at: string
}

/** The segments after the steps that nobody has confirmed. */
export function ahead(base: readonly Segment[], pending: readonly Step[]): readonly Segment[] {
  return pending.reduce<readonly Segment[]>(
    (segments, step) => (step.operations.length ? applied(segments, step.operations, step.newId) : segments),
    base,
  )
}

/** The segments whose words my steps are about, those together that were split or merged; who speaks is about none. */
function passages(base: readonly Segment[], pending: readonly Step[]): number[][] {
  const groups = new Map<number, number[]>()
  const join = (one: number, other: number) => {
    const both = [...new Set([...(groups.get(one) ?? [one]), ...(groups.get(other) ?? [other])])]
    for (const id of both) groups.set(id, both)
  }
  let segments = base
  for (const step of pending) {
    let newId = step.newId
    for (const one of step.operations) {
      if ('segment' in one) {
        join(one.segment, one.segment)
        if (one.op === 'split') join(one.segment, newId)
        const next = one.op === 'merge' && segments[segments.findIndex(({ id }) => id === one.segment) + 1]
        if (next) join(one.segment, next.id)
      }
      if (step.operations.length < STRUCTURAL) segments = applied(segments, [one], newId)
      newId -= newSegments([one])
    }
  }
  return [...new Set(groups.values())]
}

/** A step of more operations than this is of texts only: it is not followed one by one. */
const STRUCTURAL = 100

/** The segments whose words or times these changes touched, or that they added or removed. */
export function touched(changes: Changes): Set<number> {
  const ids = changes.fields.filter(({ after }) => 'text' in after || 'start' in after).map((one) => one.segment)
  for (const { removed, added } of changes.splices) ids.push(...[...removed, ...added].map(({ id }) => id))
  return new Set(ids)
}

/** What others did since (oldest first), put under my steps: the new base, and what must be chosen. */
export function rebased(
  base: readonly Segment[],
  pending: readonly Step[],
  since: readonly Revision[],
): { base: Segment[]; conflicts: Conflict[] } {
  let now: readonly Segment[] = base
  const by = new Map<number, Revision>()
  for (const revision of since) {
    if (!revision.changes) continue
    now = replayed(now, revision.changes)
    for (const id of touched(revision.changes)) by.set(id, revision)
  }
  const mine = ahead(base, pending)
  const conflicts: Conflict[] = []
  for (const segments of passages(base, pending)) {
    const other = segments.map((id) => by.get(id)).find((one) => one)
    if (!other) continue
    const of = (all: readonly Segment[]) => all.filter(({ id }) => segments.includes(id))
    const [theirs, ours] = [of(now), of(mine)]
    if (texts(theirs) === texts(ours)) continue // both did the same
    conflicts.push({
      segments,
      before: of(base)[0] ?? null,
      theirs,
      mine: ours.length ? ours.map(({ text }) => text).join(' ') : null,
      author: other.author,
      at: other.created_at,
    })
  }
  return { base: now.slice(), conflicts }
}

const texts = (segments: readonly Segment[]): string => JSON.stringify(segments.map(({ id, text }) => [id, text]))

/** My steps without what is about these passages: it was chosen anew. */
export function without(pending: readonly Step[], conflicts: readonly Conflict[]): Step[] {
  const ids = new Set(conflicts.flatMap((one) => one.segments))
  return pending
    .map((step) => {
      const operations = step.operations.filter((one) => !('segment' in one && ids.has(one.segment)))
      const same = operations.length === step.operations.length
      return same ? step : { ...step, operations, key: crypto.randomUUID() } // not the same edit any more
    })
    .filter((step) => step.operations.length || step.action !== 'edit')
}

/** What to do so that a passage reads as was chosen; null: it is removed. */
export function chosen({ theirs, before }: Conflict, text: string | null): Operation[] {
  const [first, ...rest] = theirs
  if (text === null) return theirs.map(({ id }) => ({ op: 'delete', segment: id }))
  if (theirs.map((one) => one.text).join(' ') === text) return []
  if (first) return [{ op: 'text', segment: first.id, text }, ...rest.map(({ id }) => ({ op: 'delete' as const, segment: id }))]
  return before ? [{ op: 'insert', start: before.start, end: before.end, text, speaker: before.speaker ?? null }] : []
}

/** A step is confirmed: the ids below zero in those behind it become those that the server gave. */
export function renamed(pending: readonly Step[], done: Step, changes: Changes): { steps: Step[]; ids: Map<number, number> } {
  const ids = new Map<number, number>()
  const removed = new Set(changes.splices.flatMap((one) => one.removed.map(({ id }) => id)))
  const added = changes.splices.flatMap((one) => one.added.map(({ id }) => id)).filter((id) => !removed.has(id))
  added.sort((a, b) => a - b) // given in the order in which they were made
  if (added.length === newSegments(done.operations)) added.forEach((id, at) => ids.set(done.newId - at, id))
  const name = (id: number) => ids.get(id) ?? id
  const steps = pending.map((step) => ({
    ...step,
    operations: step.operations.map((one) => {
      if ('segment' in one) return { ...one, segment: name(one.segment) }
      return one.op === 'speaker' ? { ...one, segments: one.segments.map(name) } : one
    }),
  }))
  return { steps: ids.size ? steps : [...pending], ids }
}

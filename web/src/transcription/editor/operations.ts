/** What an edit does to segments: shown at once, before the server has answered with what it made of it. */

import type { Changes, Segment, Word } from '../../api/types'

export type Operation =
  | { op: 'text'; segment: number; text: string }
  | { op: 'split'; segment: number; word: number }
  | { op: 'merge'; segment: number }
  | { op: 'delete'; segment: number }
  | { op: 'times'; segment: number; start: number; end: number }
  | { op: 'speaker'; segments: number[]; speaker: string | null }
  | { op: 'rename_speaker'; speaker: string; to: string }
  | { op: 'insert'; start: number; end: number; text: string; speaker?: string | null }

export const MAX_OPERATIONS = 10_000

/** The words of a text as the server counts them. */
export const wordsOf = (text: string): string[] => text.trim().split(/\s+/).filter(Boolean)

/** The segments after the operations. A segment that they make gets the next of the ids below zero, from `newId` on. */
export function applied(segments: readonly Segment[], operations: readonly Operation[], newId: number): Segment[] {
  const made = segments.slice()
  let places: Map<number, number> | null = null
  const placeOf = (id: number): number => {
    places ??= new Map(made.map((segment, place) => [segment.id, place]))
    return places.get(id) ?? -1
  }
  const splice = (at: number, removed: number, ...added: Segment[]) => {
    made.splice(at, removed, ...added)
    places = null
  }
  for (const one of operations) {
    if (one.op === 'speaker') {
      for (const id of one.segments) change(made, placeOf(id), { speaker: one.speaker })
    } else if (one.op === 'rename_speaker') {
      made.forEach((segment, place) => segment.speaker === one.speaker && change(made, place, { speaker: one.to }))
    } else if (one.op === 'insert') {
      const later = made.findIndex((segment) => segment.start > one.start)
      splice(later < 0 ? made.length : later, 0, inserted(one, newId--))
    } else {
      const place = placeOf(one.segment)
      const segment = made[place]
      if (!segment) continue
      if (one.op === 'text') made[place] = withText(segment, one.text)
      else if (one.op === 'times') made[place] = { ...segment, start: one.start, end: one.end }
      else if (one.op === 'delete') splice(place, 1)
      else if (one.op === 'split') splice(place, 1, ...halves(segment, one.word, newId--))
      else if (made[place + 1]) splice(place, 2, merged(segment, made[place + 1] as Segment))
    }
  }
  return made
}

/** How many segments the operations make. */
export const newSegments = (operations: readonly Operation[]): number =>
  operations.filter(({ op }) => op === 'split' || op === 'insert').length

function change(segments: Segment[], place: number, fields: Partial<Segment>): void {
  const segment = segments[place]
  if (segment) segments[place] = { ...segment, ...fields }
}

function withText(segment: Segment, text: string): Segment {
  const plain = text.trim().replace(/\s+/g, ' ')
  return { ...segment, text: plain, words: segment.words.length ? aligned(segment, wordsOf(plain)) : [] }
}

function inserted(asked: Operation & { op: 'insert' }, id: number): Segment {
  const { start, end, text, speaker } = asked
  return { id, start, end, text, speaker, confidence: 1, words: spread(wordsOf(text), start, end) }
}

function halves(segment: Segment, word: number, id: number): Segment[] {
  const texts = segment.words.length ? segment.words.map((one) => one.word) : wordsOf(segment.text).map((one) => ` ${one}`)
  if (word < 1 || word >= texts.length) return [segment]
  const guess = segment.start + ((segment.end - segment.start) * word) / texts.length
  const [before, behind] = [segment.words.slice(0, word), segment.words.slice(word)]
  return [
    { ...segment, text: texts.slice(0, word).join('').trim(), end: before.at(-1)?.end ?? guess, words: before },
    { ...segment, id, text: texts.slice(word).join('').trim(), start: behind[0]?.start ?? guess, words: behind },
  ]
}

function merged(one: Segment, other: Segment): Segment {
  return {
    ...one,
    text: `${one.text} ${other.text}`.trim(),
    end: Math.max(one.end, other.end),
    words: one.words.length || other.words.length ? [...timed(one), ...timed(other)] : [],
    speaker: one.speaker || other.speaker,
    confidence: Math.min(one.confidence, other.confidence),
  }
}

const timed = (segment: Segment): Word[] =>
  segment.words.length ? segment.words : spread(wordsOf(segment.text), segment.start, segment.end)

function spread(words: string[], start: number, end: number): Word[] {
  const each = (end - start) / Math.max(1, words.length)
  return words.map((word, at) => ({
    word: ` ${word}`,
    start: start + at * each,
    end: start + (at + 1) * each,
    probability: 1,
    interpolated: true,
  }))
}

const key = (word: string): string => word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '') || word.trim()

/** The new words of a segment: those that stayed keep their times. The server does the same, more exactly. */
function aligned(segment: Segment, words: string[]): Word[] {
  const old = segment.words
  const kept = common(old.map((one) => key(one.word)), words.map(key))
  const made: Word[] = []
  let from = 0
  for (const [at, to] of [...kept, [old.length, words.length] as const]) {
    const before = made.at(-1)?.end ?? segment.start
    const replaced = old.slice(kept[from - 1] ? (kept[from - 1] as readonly [number, number])[0] + 1 : 0, at)
    const start = replaced[0]?.start ?? before
    const end = replaced.at(-1)?.end ?? Math.max(start, old[at]?.start ?? segment.end)
    made.push(...spread(words.slice(made.length, to), start, end))
    const same = old[at]
    if (same && words[to] !== undefined) made.push({ ...same, word: ` ${words[to]}` })
    from++
  }
  return made
}

/** The longest common subsequence of two lists: pairs of places. */
export function common(one: readonly string[], other: readonly string[]): (readonly [number, number])[] {
  const lengths = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1))
  const at = (i: number, j: number) => (lengths[i] as Uint16Array)[j] as number
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      const row = lengths[i] as Uint16Array
      row[j] = one[i] === other[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const pairs: (readonly [number, number])[] = []
  for (let i = 0, j = 0; i < one.length && j < other.length; ) {
    if (one[i] === other[j]) pairs.push([i++, j++])
    else if (at(i + 1, j) >= at(i, j + 1)) i++
    else j++
  }
  return pairs
}

/** The segments after what a revision changed. */
export function replayed(segments: readonly Segment[], changes: Changes): Segment[] {
  const after = new Map(changes.fields.map((one) => [one.segment, one.after]))
  const made = segments.map((segment) => {
    const fields = after.get(segment.id)
    return fields ? { ...segment, ...fields } : segment
  })
  for (const one of [...changes.splices].reverse()) made.splice(one.at, one.removed.length, ...one.added)
  return made
}

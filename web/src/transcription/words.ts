/** Where in a transcript a moment is, and where a text is. */

import type { Segment, Transcript } from '../api/types'
import { plain } from '../app/format'

/** Below this probability a word is doubtful. */
export const DOUBTFUL = 0.6
export const UNSURE = 0.85

/** The last of the things that have begun by then; -1 before the first. They are in order. */
export function lastBegun(things: readonly { start: number }[], seconds: number): number {
  let low = 0
  let high = things.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((things[middle] as { start: number }).start <= seconds) low = middle + 1
    else high = middle
  }
  return low - 1
}

export type Place = { segment: number; word: number }

/** The segment and word that are heard at a moment; -1 where there is none. */
export function placeAt(segments: readonly Segment[], seconds: number): Place {
  const segment = lastBegun(segments, seconds)
  const words = segments[segment]?.words ?? []
  return { segment, word: lastBegun(words, seconds) }
}

/** The next doubtful word behind a place, around the end; null when there is none. */
export function nextDoubtful(segments: readonly Segment[], from: Place): Place | null {
  const all: Place[] = []
  segments.forEach(({ words }, segment) =>
    words.forEach((one, word) => one.probability < DOUBTFUL && all.push({ segment, word })),
  )
  const behind = all.find((one) => one.segment > from.segment || (one.segment === from.segment && one.word > from.word))
  return behind ?? all[0] ?? null
}

/** The segments that hold a text, whatever its case and accents. */
export function segmentsWith(transcript: Transcript, text: string): number[] {
  const wanted = plain(text.trim())
  if (!wanted) return []
  return transcript.segments.flatMap((segment, index) => (plain(segment.text).includes(wanted) ? [index] : []))
}

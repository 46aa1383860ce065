/** Where in a transcript a moment is, and where a text is. */

import type { Segment } from '../api/types'

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
  const count = segments.length
  const start = Math.max(0, from.segment)
  for (let step = 0; step <= count; step++) {
    const segment = (start + step) % Math.max(1, count)
    const after = step === 0 && from.segment >= 0 ? from.word + 1 : 0
    const word = segments[segment]?.words.findIndex((one, at) => at >= after && one.probability < DOUBTFUL) ?? -1
    if (word >= 0) return { segment, word }
  }
  return null
}

/** Finding in all segments, whether they are on screen or not, and replacing what was found. */

import type { Segment } from '../../api/types'
import { plain } from '../../app/format'
import type { Operation } from './operations'

export type Match = { segment: number; from: number; to: number }

const folded = new WeakMap<Segment, string>()

/** Folding ten thousand texts takes long; a segment that did not change is the same object. */
function plainOf(segment: Segment): string {
  let text = folded.get(segment)
  if (text === undefined) folded.set(segment, (text = plain(segment.text)))
  return text
}

/** The places of the segments that hold a text; `exact`: with its case and accents. */
export function segmentsWith(segments: readonly Segment[], text: string, exact = false): number[] {
  const wanted = exact ? text : plain(text.trim())
  if (!wanted.trim()) return []
  return segments.flatMap((segment, at) => ((exact ? segment.text : plainOf(segment)).includes(wanted) ? [at] : []))
}

/** Where a text holds another: from and to. Without `exact` neither case nor accents count. */
export function matchesIn(text: string, wanted: string, exact = false): [number, number][] {
  const found: [number, number][] = []
  const { folded: within, starts } = exact ? { folded: text, starts: null } : fold(text)
  const what = exact ? wanted : plain(wanted.trim())
  if (!what.trim()) return found
  for (let at = within.indexOf(what); at >= 0; at = within.indexOf(what, at + what.length)) {
    const end = at + what.length
    found.push([starts?.[at] ?? at, starts ? (starts[end] ?? text.length) : end])
  }
  return found
}

/** A text as it is compared, and for each of its characters where it comes from. */
function fold(text: string): { folded: string; starts: number[] } {
  const starts: number[] = []
  let folded = ''
  let at = 0
  for (const character of text) {
    const one = plain(character)
    for (let unit = 0; unit < one.length; unit++) starts.push(at)
    folded += one
    at += character.length
  }
  return { folded, starts }
}

/** The text with every match replaced. */
export function replacedIn(text: string, wanted: string, by: string, exact = false): string {
  let made = ''
  let last = 0
  for (const [from, to] of matchesIn(text, wanted, exact)) {
    made += text.slice(last, from) + by
    last = to
  }
  return made + text.slice(last)
}

/** What replaces a text in these segments. One that would be empty is deleted. */
export function replacing(segments: readonly Segment[], wanted: string, by: string, exact = false): Operation[] {
  return segments.flatMap((segment): Operation[] => {
    const text = replacedIn(segment.text, wanted, by, exact).trim().replace(/\s+/g, ' ')
    if (text === segment.text.trim()) return []
    return [text ? { op: 'text', segment: segment.id, text } : { op: 'delete', segment: segment.id }]
  })
}

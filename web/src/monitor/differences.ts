/** Where two texts differ, word by word. */

import { plain } from '../app/format'

export type Part = { text: string; kind: 'same' | 'missing' | 'added' }

const compared = (word: string): string => plain(word).replace(/[^\p{L}\p{N}]/gu, '')

/** The words of both in order: shared ones once, those that are not heard as missing, others as added. */
export function differences(wanted: string, heard: string): Part[] {
  const [a, b] = [wanted.split(/\s+/).filter(Boolean), heard.split(/\s+/).filter(Boolean)]
  const [x, y] = [a.map(compared), b.map(compared)]
  // the longest words in common of what is left of both, from their ends
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  const at = (i: number, j: number): number => longest[i]?.[j] ?? 0
  for (let i = a.length - 1; i >= 0; i--) {
    const row = longest[i] as Uint16Array
    for (let j = b.length - 1; j >= 0; j--) {
      row[j] = x[i] === y[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const parts: Part[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && x[i] === y[j]) {
      parts.push({ text: b[j] as string, kind: 'same' })
      i++
      j++
    } else if (i < a.length && (j >= b.length || at(i + 1, j) >= at(i, j + 1))) {
      parts.push({ text: a[i++] as string, kind: 'missing' })
    } else parts.push({ text: b[j++] as string, kind: 'added' })
  }
  return parts
}

import { expect, test } from 'vitest'
import type { Segment } from '../api/types'
import { lastBegun, nextDoubtful, placeAt } from './words'

const word = (text: string, start: number, probability = 1) => ({ word: text, start, end: start + 0.4, probability })
const segments: Segment[] = [
  { id: 0, start: 0, end: 1, text: 'Salama tompoko', confidence: 1, words: [word('Salama', 0), word(' tompoko', 0.5, 0.4)] },
  { id: 1, start: 2, end: 3, text: 'Ràzana', confidence: 1, words: [word('Ràzana', 2, 0.5)] },
  { id: 2, start: 4, end: 5, text: 'without words', confidence: 1, words: [] },
]

test('the last that has begun is found', () => {
  const starts = [{ start: 1 }, { start: 2 }, { start: 2 }, { start: 5 }]
  expect([0.9, 1, 2, 4.9, 99].map((at) => lastBegun(starts, at))).toEqual([-1, 0, 2, 2, 3])
  expect(lastBegun([], 1)).toBe(-1)
})

test('the word that is heard', () => {
  expect(placeAt(segments, 0.7)).toEqual({ segment: 0, word: 1 })
  expect(placeAt(segments, 4.5)).toEqual({ segment: 2, word: -1 })
})

test('doubtful words follow each other around the end', () => {
  const first = nextDoubtful(segments, { segment: -1, word: -1 })
  expect(first).toEqual({ segment: 0, word: 1 })
  expect(nextDoubtful(segments, { segment: 0, word: 1 })).toEqual({ segment: 1, word: 0 })
  expect(nextDoubtful(segments, { segment: 1, word: 0 })).toEqual(first)
  expect(nextDoubtful([], { segment: 0, word: 0 })).toBeNull()
})

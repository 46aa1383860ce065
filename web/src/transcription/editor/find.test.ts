import { expect, test } from 'vitest'
import type { Segment } from '../../api/types'
import { matchesIn, replacedIn, replacing, segmentsWith } from './find'

const said = (id: number, text: string): Segment => ({ id, start: id, end: id + 1, text, confidence: 1, words: [] })

test('a text is found whatever its case and accents, or exactly', () => {
  const segments = [said(0, 'Ny ràzana'), said(1, 'Razana izy'), said(2, 'zanany')]
  expect(segmentsWith(segments, ' razana')).toEqual([0, 1])
  expect(segmentsWith(segments, 'ràzana', true)).toEqual([0])
  expect(segmentsWith(segments, ' ')).toEqual([])
})

test('places are those of the text as it is written', () => {
  expect(matchesIn('à Ràzana ràzana', 'razana')).toEqual([
    [2, 8],
    [9, 15],
  ])
  expect(matchesIn('a\u0300 ràzana', 'razana')).toEqual([[3, 9]])
  expect(matchesIn('😀 efa 😀 efa', 'efa')).toEqual([
    [3, 6],
    [10, 13],
  ])
  expect(matchesIn('aaa', 'aa')).toEqual([[0, 2]])
})

test('all are replaced, and what would be empty is deleted', () => {
  expect(replacedIn('Razana sy razana', 'razana', '$&')).toBe('$& sy $&')
  const segments = [said(3, 'eny'), said(4, 'eny, izay'), said(5, 'tsia')]
  expect(replacing(segments, 'ENY', '')).toEqual([
    { op: 'delete', segment: 3 },
    { op: 'text', segment: 4, text: ', izay' },
  ])
  expect(replacing(segments, 'ENY', '', true)).toEqual([])
})

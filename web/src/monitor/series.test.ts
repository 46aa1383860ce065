import { expect, test } from 'vitest'
import { aligned, seriesOf } from './series'

const rows = [
  { step: 1, 'train/loss': 3 },
  { step: 2, 'train/loss': 2, 'eval/wer': 0.5 },
  { step: 3, 'train/loss': Number.NaN },
  { step: 4, 'train/loss': 9 },
  { step: 3, 'train/loss': 1 },
]

test('steps that were made again replace those that came after them', () => {
  expect(seriesOf(rows, 'train/loss', 1)).toEqual({ name: 'train/loss', steps: [1, 2, 3], values: [3, 2, 1] })
  expect(seriesOf(rows, 'eval/wer', 100).values).toEqual([50])
})

test('lines share their steps', () => {
  const lines = [seriesOf(rows, 'train/loss', 1), seriesOf(rows, 'eval/wer', 100)]
  expect(aligned(lines)).toEqual([[1, 2, 3], [3, 2, 1], [null, 50, null]])
})

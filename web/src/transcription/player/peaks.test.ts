import { expect, test } from 'vitest'
import { barsOf, peaksIn } from './peaks'

function file(values: number[], version = 2): ArrayBuffer {
  const content = new ArrayBuffer(24 + values.length)
  const head = new DataView(content)
  for (const [at, value] of [version, 1, 8000, 160, values.length / 2, 1].entries()) head.setInt32(at * 4, value, true)
  new Int8Array(content, 24).set(values)
  return content
}

test('each bar is the largest swing of its piece, the loudest being 1', () => {
  const peaks = peaksIn(file([-2, 10, -100, 3, 0, 50, -1, 1]))
  expect(peaks.windows).toBe(4)
  expect([...barsOf(peaks, 2)]).toEqual([1, 0.5])
  expect(barsOf(peaks, 8)).toHaveLength(8)
  expect([...barsOf(peaksIn(file([0, 0])), 2)]).toEqual([0, 0])
})

test('another file is refused', () => {
  expect(() => peaksIn(file([1, 2], 1))).toThrow(RangeError)
  expect(() => peaksIn(new ArrayBuffer(3))).toThrow(RangeError)
})

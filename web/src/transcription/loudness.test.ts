import { expect, test } from 'vitest'
import { loudness } from './loudness'

test('loudness goes from silence to a shout', () => {
  expect(loudness(new Float32Array(100))).toBe(0)
  expect(loudness(new Float32Array(100).fill(1))).toBe(1)
  expect(loudness(new Float32Array(100).fill(0.03))).toBeCloseTo(0.547, 2)
})

import { expect, test } from 'vitest'
import { loudness, peaksOf } from './loudness'

test('peaks cover the whole sound, the loudest is 1', () => {
  const samples = new Float32Array(1000)
  samples[999] = -0.5
  samples[0] = 0.25
  expect([...peaksOf(samples, 4)]).toEqual([0.5, 0, 0, 1])
  expect([...peaksOf(new Float32Array(0), 2)]).toEqual([0, 0])
})

test('loudness goes from silence to a shout', () => {
  expect(loudness(new Float32Array(100))).toBe(0)
  expect(loudness(new Float32Array(100).fill(1))).toBe(1)
  expect(loudness(new Float32Array(100).fill(0.03))).toBeCloseTo(0.547, 2)
})

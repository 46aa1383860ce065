import { expect, test } from 'vitest'
import { clock, plain, size, span } from './format'

test('times', () => {
  expect([clock(0), clock(59.9), clock(61), clock(3723), clock(61.26, true)]).toEqual([
    '0:00', '0:59', '1:01', '1:02:03', '1:01.2',
  ])
  expect([span(0.2), span(59), span(61), span(3600), span(4800)]).toEqual(['1 s', '59 s', '1 min', '1 h', '1 h 20 min'])
})

test('sizes', () => {
  expect([size(0), size(1500), size(2_500_000), size(123e9)]).toEqual(['0 B', '1.5 kB', '2.5 MB', '123 GB'])
})

test('what is searched for is found without its accents and case', () => {
  expect(plain('Àmpy, Tànana')).toBe('ampy, tanana')
})

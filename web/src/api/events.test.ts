import { expect, test } from 'vitest'
import { parseEvents } from './events'

test('events are read as they become complete, whatever the pieces', () => {
  const text = 'id: 3\r\nevent: job\r\ndata: {"a":\r\ndata: 1}\r\n\r\n: ping\n\ndata: x\n'
  let rest = ''
  const seen = []
  for (const piece of text.match(/[\s\S]{1,7}/g) ?? []) {
    const parsed = parseEvents(rest + piece)
    rest = parsed.rest
    seen.push(...parsed.events)
  }
  expect(seen).toEqual([{ event: 'job', data: '{"a":\n1}', id: '3' }])
  expect(parseEvents(`${rest}\n\n`).events).toEqual([{ event: 'message', data: 'x', id: '' }])
})

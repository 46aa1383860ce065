import { expect, test } from 'vitest'
import { textOfMarkdown, textOfSubtitles } from './documents'

test('subtitles are read without numbers, times and marks', () => {
  const srt = '1\r\n00:00:01,000 --> 00:00:02,000\r\nSalama\r\n<i>tompoko</i>\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\nVeloma\r\n'
  expect(textOfSubtitles(srt)).toBe('Salama tompoko\nVeloma')
  expect(textOfSubtitles('WEBVTT\n\n00:01.000 --> 00:02.000\nEny')).toBe('Eny')
})

test('markdown is read as its words', () => {
  expect(textOfMarkdown('# Title\n\n- **one** [link](http://x)\n\n```\ncode\n```\n![alt](i.png)')).toBe('Title\n\none link')
})

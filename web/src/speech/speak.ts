/** Texts to sound, by way of the queue. */

import { ApiError, get, post, send } from '../api/client'
import { type Job, isFinal } from '../api/types'

export type Voice = { language: string; voice: string; speed: number }
export type Sentence = { text: string; spoken: string }

export const FORMATS = ['mp3', 'wav', 'flac', 'ogg', 'opus', 'aac'] as const
export type Format = (typeof FORMATS)[number]

function asked(text: string, { language, voice, speed }: Voice, format: Format) {
  return { text, format, speed, ...(language && { language }), ...(voice && { voice }) }
}

/** Speak a text. A long wait is answered with a job, which is waited for. Throws `ApiError`. */
export async function speak(text: string, voice: Voice, format: Format, signal: AbortSignal): Promise<Blob> {
  const answer = await send('/tts', {
    json: asked(text, voice, format),
    headers: { Accept: '*/*', Prefer: 'wait=20' },
    signal,
  })
  if (answer.status !== 202) return answer.blob()
  let job = (await answer.json()) as Job
  while (!isFinal(job)) job = await get<Job>(`/jobs/${job.id}?wait=20`, signal)
  if (job.state !== 'succeeded') {
    const { code = '', title = '', detail = '' } = job.error ?? {}
    throw new ApiError({ status: 500, code, title, detail })
  }
  return (await send(`/jobs/${job.id}/result`, { headers: { Accept: '*/*' }, signal })).blob()
}

export function sentencesOf(text: string, language: string, signal?: AbortSignal): Promise<{ items: Sentence[] }> {
  return post('/tts/sentences', { text, ...(language && { language }) }, { signal })
}

export async function translate(text: string, source: string, target: string, signal: AbortSignal): Promise<string> {
  const answer = await send('/translate', { json: { text, source, target }, headers: { Prefer: 'wait=30' }, signal })
  if (answer.status !== 202) return ((await answer.json()) as { translation: string }).translation
  let job = (await answer.json()) as Job
  while (!isFinal(job)) job = await get<Job>(`/jobs/${job.id}?wait=20`, signal)
  if (job.state !== 'succeeded') {
    const { code = '', title = '', detail = '' } = job.error ?? {}
    throw new ApiError({ status: 500, code, title, detail })
  }
  const result = await get<{ translations: { text: string }[] }>(`/jobs/${job.id}/result`, signal)
  return result.translations.map((one) => one.text).join('\n')
}

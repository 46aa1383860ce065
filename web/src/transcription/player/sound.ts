/** The sound and the waveform of a transcription from the server, which makes them when they are first asked for. */

import { ApiError, send } from '../../api/client'
import { type Peaks, peaksIn } from './peaks'

const WAIT_S = 20
/** So long one waits for a recording to be made ready before the page says that it can't be heard. */
const PATIENCE_MS = 600_000

/** A link that `<audio>` can open: it can send no key in a header. Good for some minutes. Throws `ApiError`. */
export async function linkTo(jobId: string, signal: AbortSignal): Promise<string> {
  const answer = await whenMade(`/jobs/${jobId}/audio/link`, signal)
  return ((await answer.json()) as { url: string }).url
}

export async function peaksOf(jobId: string, signal: AbortSignal): Promise<Peaks> {
  return peaksIn(await (await whenMade(`/jobs/${jobId}/audio/peaks`, signal)).arrayBuffer())
}

async function whenMade(path: string, signal: AbortSignal): Promise<Response> {
  const until = performance.now() + PATIENCE_MS
  while (performance.now() < until) {
    const answer = await send(`${path}?wait=${WAIT_S}`, { headers: { Accept: '*/*' }, signal })
    if (answer.status !== 202) return answer
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
  throw new ApiError({ status: 503, code: 'no_answer', title: '', detail: '' })
}

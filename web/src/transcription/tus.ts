/** Uploads in pieces by tus 1.0.0: what has arrived stays, and another try goes on from there. */

import { ApiError, sendPiece } from '../api/client'

const PIECE_BYTES = 4 * 1024 * 1024
const VERSION = { 'Tus-Resumable': '1.0.0' }

/** Where an upload that was begun lies; kept by whoever may have to go on with it. */
export type Place = { url: string | null }

/** Send it all, from where `place` is. Returns the id of the blob. Throws `ApiError`; call it again to go on. */
export async function sendByPieces(content: Blob, place: Place, tell: (share: number) => void): Promise<string> {
  let { offset, blob } = await begun(content, place)
  while (!blob) {
    const piece = content.slice(offset, offset + PIECE_BYTES)
    const headers = {
      ...VERSION,
      'Upload-Offset': String(offset),
      'Content-Type': 'application/offset+octet-stream',
    }
    const from = offset
    const told = (sent: number) => tell((from + sent) / content.size)
    try {
      ;({ offset, blob } = stateIn(await sendPiece('PATCH', place.url ?? '', headers, piece, told)))
    } catch (error) {
      // a piece may have arrived although its answer did not
      if (!(error instanceof ApiError) || error.code !== 'wrong_offset') throw error
      ;({ offset, blob } = await begun(content, place))
    }
  }
  return blob
}

type State = { offset: number; blob: string | null }

async function begun(content: Blob, place: Place): Promise<State> {
  if (place.url) {
    try {
      return stateIn(await sendPiece('HEAD', place.url, VERSION))
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
      place.url = null // given up after a day, or another server: begin anew
    }
  }
  const headers = await sendPiece('POST', '/uploads', { ...VERSION, 'Upload-Length': String(content.size) })
  place.url = (headers.get('location') ?? '').replace(/^\/api\/v1/, '')
  return stateIn(headers)
}

function stateIn(headers: Headers): State {
  return { offset: Number(headers.get('upload-offset')), blob: headers.get('milo-blob') }
}

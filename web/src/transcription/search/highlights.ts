/** A hit's text in pieces, marked or not. The server counts in Unicode characters, not in UTF-16 units. */

export type Piece = { text: string; marked: boolean }

export function piecesOf(text: string, highlights: readonly (readonly [number, number])[]): Piece[] {
  const letters = [...text]
  const pieces: Piece[] = []
  let at = 0
  for (const [from, to] of highlights) {
    if (from > at) pieces.push({ text: letters.slice(at, from).join(''), marked: false })
    if (to > Math.max(at, from)) pieces.push({ text: letters.slice(Math.max(at, from), to).join(''), marked: true })
    at = Math.max(at, to)
  }
  if (at < letters.length) pieces.push({ text: letters.slice(at).join(''), marked: false })
  return pieces
}

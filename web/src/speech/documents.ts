/** The text of a document: txt, md, srt, vtt, docx. */

/** Subtitles without their numbers and times; cues that go on are one paragraph. */
export function textOfSubtitles(subtitles: string): string {
  const blocks = subtitles.replace(/\r\n?/g, '\n').replace(/^\uFEFF?WEBVTT[^\n]*\n/, '').split(/\n{2,}/)
  const cues = blocks.flatMap((block) => {
    const lines = block.split('\n')
    const times = lines.findIndex((line) => line.includes('-->'))
    if (times < 0) return []
    const text = lines.slice(times + 1).join(' ').replace(/<[^>]*>/g, '').trim()
    return text ? [text] : []
  })
  return cues.join('\n')
}

/** Markdown as it is read: without marks, links by their words, code left out. */
export function textOfMarkdown(markdown: string): string {
  return markdown
    .replace(/^```[\s\S]*?^```[ \t]*$/gm, '')
    .replace(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/^[ ]{0,3}(#{1,6}|>|[-*+]|\d+\.)[ \t]+/gm, '')
    .replace(/(\*\*|__|`|~~)/g, '')
    .replace(/\n{3,}/g, '\n\n')
    .trim()
}

export async function textOfDocument(file: File): Promise<string> {
  const name = file.name.toLowerCase()
  if (name.endsWith('.docx')) return textOfDocx(await file.arrayBuffer())
  const text = await file.text()
  if (/\.(srt|vtt)$/.test(name)) return textOfSubtitles(text)
  return /\.(md|markdown)$/.test(name) ? textOfMarkdown(text) : text
}

/** The paragraphs of a Word document, which is a zip with an XML file in it. */
async function textOfDocx(bytes: ArrayBuffer): Promise<string> {
  const xml = new TextDecoder().decode(await fileOfZip(new DataView(bytes), 'word/document.xml'))
  const document = new DOMParser().parseFromString(xml, 'application/xml')
  return [...document.getElementsByTagName('w:p')]
    .map((paragraph) => [...paragraph.getElementsByTagName('w:t')].map((run) => run.textContent).join(''))
    .join('\n')
    .trim()
}

const END_OF_DIRECTORY = 0x06054b50
const DIRECTORY_ENTRY = 0x02014b50
const DEFLATED = 8

async function fileOfZip(zip: DataView<ArrayBuffer>, wanted: string): Promise<ArrayBuffer> {
  let end = zip.byteLength - 22
  while (end >= 0 && zip.getUint32(end, true) !== END_OF_DIRECTORY) end--
  if (end < 0) throw new Error('no zip')
  let at = zip.getUint32(end + 16, true)
  while (at + 46 <= end && zip.getUint32(at, true) === DIRECTORY_ENTRY) {
    const nameLength = zip.getUint16(at + 28, true)
    const name = new TextDecoder().decode(new Uint8Array(zip.buffer, at + 46, nameLength))
    if (name === wanted) {
      const header = zip.getUint32(at + 42, true)
      const start = header + 30 + zip.getUint16(header + 26, true) + zip.getUint16(header + 28, true)
      const packed = new Blob([new Uint8Array(zip.buffer, start, zip.getUint32(at + 20, true))])
      if (zip.getUint16(at + 10, true) !== DEFLATED) return packed.arrayBuffer()
      return new Response(packed.stream().pipeThrough(new DecompressionStream('deflate-raw'))).arrayBuffer()
    }
    at += 46 + nameLength + zip.getUint16(at + 30, true) + zip.getUint16(at + 32, true)
  }
  throw new Error(`the zip has no ${wanted}`)
}

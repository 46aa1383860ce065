// After the build: packs each file as gzip and brotli for the server, and holds the sizes to their budgets.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const OUT = new URL('../api/web_client/', import.meta.url).pathname
const FIRST_LOAD_KB = 130
const CHUNK_KB = 60
const PACKED = /\.(js|css|svg|webmanifest)$/

const kb = (bytes) => bytes / 1000
const sizes = new Map()
for (const folder of ['', 'assets', 'icons']) {
  for (const name of readdirSync(join(OUT, folder))) {
    if (!PACKED.test(name)) continue
    const path = join(OUT, folder, name)
    const content = readFileSync(path)
    const gzip = gzipSync(content, { level: 9 })
    writeFileSync(`${path}.gz`, gzip)
    writeFileSync(
      `${path}.br`,
      brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
    )
    sizes.set(join(folder, name), gzip.length)
  }
}

// What the first page loads: its own scripts and styles, and the largest language beside them.
const index = readFileSync(join(OUT, 'index.html'), 'utf8')
const linked = [...index.matchAll(/(?:src|href)="\/([^"]+\.(?:js|css))"/g)].map((match) => match[1])
const isLanguage = (name) => /assets\/(mg|fr|en)-/.test(name)
const languages = [...sizes].filter(([name]) => isLanguage(name)).map(([, size]) => size)
const first = linked.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0) + Math.max(0, ...languages)
console.log(`first load ${kb(first).toFixed(1)} kB gz (budget ${FIRST_LOAD_KB})`)

let failed = kb(first) > FIRST_LOAD_KB
for (const [name, size] of [...sizes].sort((a, b) => b[1] - a[1])) {
  if (!name.startsWith('assets') || linked.includes(name)) continue
  if (kb(size) > CHUNK_KB) failed = true
  if (kb(size) > 2) console.log(`  ${name} ${kb(size).toFixed(1)} kB gz`)
}
if (failed) {
  console.error(`The client is larger than its budget: ${FIRST_LOAD_KB} kB at first, ${CHUNK_KB} kB a chunk (gzip).`)
  process.exit(1)
}

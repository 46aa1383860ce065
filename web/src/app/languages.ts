/** The name of a language in the language of the page. */
const MG: Record<string, string> = { mg: 'Malagasy', fr: 'Frantsay', en: 'Anglisy' }

export function languageName(code: string, shown: string): string {
  if (shown === 'mg' && MG[code]) return MG[code] // browsers have no Malagasy names
  try {
    const name = new Intl.DisplayNames([shown === 'mg' ? 'fr' : shown], { type: 'language' }).of(code) ?? code
    return name.charAt(0).toUpperCase() + name.slice(1)
  } catch {
    return code
  }
}

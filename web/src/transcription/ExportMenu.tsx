import { useState } from 'react'
import { send } from '../api/client'
import { saveAs } from '../app/save'
import { Trouble } from '../app/Trouble'
import { type TextKey, useT } from '../i18n'
import { Button, Dialog, Select } from '../ui'
import { Icon } from '../ui/icons'
import { settled } from './editor/editing'

/** The formats that the server renders a transcript in. */
const FORMATS: { format: string; text: TextKey; extension: string; cues?: boolean }[] = [
  { format: 'txt', text: 'export.txt', extension: 'txt' },
  { format: 'srt', text: 'export.srt', extension: 'srt', cues: true },
  { format: 'vtt', text: 'export.vtt', extension: 'vtt', cues: true },
  { format: 'tsv', text: 'export.tsv', extension: 'tsv', cues: true },
  { format: 'json', text: 'export.json', extension: 'json' },
  { format: 'verbose_json', text: 'export.verbose', extension: 'verbose.json' },
]
export const PROFILES: { cues: string; text: TextKey }[] = [
  { cues: '', text: 'cues.default' },
  { cues: 'broadcast', text: 'cues.broadcast' },
  { cues: 'social', text: 'cues.social' },
  { cues: 'plain', text: 'cues.plain' },
]

export function ExportMenu({ jobId, name }: { jobId: string; name: string }) {
  const t = useT()
  const [open, setOpen] = useState(false)
  const [cues, setCues] = useState('')
  const [error, setError] = useState<unknown>(null)

  async function fetchOne(one: (typeof FORMATS)[number]) {
    setError(null)
    try {
      await settled(jobId) // what was edited last is in it, too
      const asked = one.cues && cues ? `&cues=${cues}` : ''
      const answer = await send(`/jobs/${jobId}/result?format=${one.format}${asked}`, { headers: { Accept: '*/*' } })
      saveAs(await answer.blob(), `${name.replace(/\.[A-Za-z0-9]{1,5}$/, '')}.${one.extension}`)
    } catch (problem) {
      setError(problem)
    }
  }

  return (
    <>
      <Button look="primary" onClick={() => setOpen(true)}>
        <Icon name="download" className="size-4" />
        {t('export.title')}
      </Button>
      <Dialog open={open} onClose={() => setOpen(false)} title={t('export.title')}>
        <div className="grid grid-cols-2 gap-2">
          {FORMATS.map((one) => (
            <Button key={one.format} className="justify-start!" onClick={() => void fetchOne(one)}>
              <Icon name="download" className="size-4 text-muted" />
              {t(one.text)}
            </Button>
          ))}
        </div>
        <Select label={t('cues.label')} className="mt-4" value={cues} onChange={(event) => setCues(event.target.value)}>
          {PROFILES.map((one) => (
            <option key={one.cues} value={one.cues}>
              {t(one.text)}
            </option>
          ))}
        </Select>
        {error !== null && (
          <div className="mt-4">
            <Trouble error={error} />
          </div>
        )}
        <div className="mt-5 text-right">
          <Button onClick={() => setOpen(false)}>{t('action.close')}</Button>
        </div>
      </Dialog>
    </>
  )
}

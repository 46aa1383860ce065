/** Where sound comes in: files, folders, the microphone; and what became of it. */

import { useQueryClient } from '@tanstack/react-query'
import { type DragEvent, useEffect, useRef, useState } from 'react'
import { useDefaultModel } from '../api/queries'
import { languageName } from '../app/languages'
import { useMay } from '../app/session'
import { useLanguage, useT } from '../i18n'
import { Button, Card, Heading, Select } from '../ui'
import { Icon } from '../ui/icons'
import { filesOf } from './dropped'
import { JobList } from './JobList'
import { RecorderPanel } from './RecorderPanel'
import { useRecordings } from './recordings'
import { Search } from './search/Search'
import { UploadList } from './UploadList'
import { onJobMade, useUploads } from './uploads'

const ACCEPTED = 'audio/*,video/*,.amr,.gsm,.opus,.oga,.voc,.w64,.caf,.mkv'

export function Inbox() {
  const t = useT()
  const may = useMay('write')
  const queries = useQueryClient()
  useEffect(() => onJobMade(() => void queries.invalidateQueries({ queryKey: ['jobs'] })), [queries])
  useEffect(() => {
    // recordings of an earlier visit that have not been sent
    void useRecordings.getState().load()
  }, [])
  return (
    <>
      <Heading title={t('nav.transcription')} />
      {may && <Intake />}
      <UploadList />
      <Search />
      <JobList />
    </>
  )
}

function Intake() {
  const t = useT()
  const shown = useLanguage()
  const languages = useDefaultModel('stt')?.languages ?? ['mg', 'fr', 'en']
  const [language, setLanguage] = useState('')
  const [over, setOver] = useState(false)
  const files = useRef<HTMLInputElement>(null)
  const folder = useRef<HTMLInputElement>(null)
  const add = useUploads((uploads) => uploads.add)

  function take(list: FileList | null) {
    add([...(list ?? [])].map((file) => ({ name: file.webkitRelativePath || file.name, content: file })), language)
  }

  async function drop(event: DragEvent) {
    event.preventDefault()
    setOver(false)
    add(await filesOf(event.dataTransfer), language)
  }

  return (
    <Card className="mb-6 p-0!">
      <div className="grid gap-px overflow-hidden rounded-xl bg-line sm:grid-cols-2">
        <div
          className={`flex flex-col items-center justify-center gap-3 px-4 py-6 text-center transition-colors ${over ? 'bg-accent-soft' : 'bg-surface'}`}
          onDragOver={(event) => {
            event.preventDefault()
            setOver(true)
          }}
          onDragLeave={() => setOver(false)}
          onDrop={(event) => void drop(event)}
        >
          <Icon name="upload" className="size-7 text-accent" />
          <p className="text-muted">{t('intake.drop')}</p>
          <div className="flex flex-wrap justify-center gap-2">
            <Button onClick={() => files.current?.click()}>{t('intake.files')}</Button>
            <Button className="hidden! md:inline-flex!" onClick={() => folder.current?.click()}>
              {t('intake.folder')}
            </Button>
          </div>
          <input
            ref={files}
            type="file"
            multiple
            accept={ACCEPTED}
            hidden
            data-testid="files"
            onChange={(event) => {
              take(event.target.files)
              event.target.value = ''
            }}
          />
          <input
            ref={folder}
            type="file"
            multiple
            hidden
            {...{ webkitdirectory: '' }}
            onChange={(event) => {
              take(event.target.files)
              event.target.value = ''
            }}
          />
        </div>
        <RecorderPanel language={language} />
      </div>
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1 border-t border-line px-4 py-2.5">
        <Select
          label={t('intake.language')}
          hideLabel
          className="w-full sm:w-64"
          value={language}
          onChange={(event) => setLanguage(event.target.value)}
        >
          <option value="">{t('intake.detect')}</option>
          {languages.map((code) => (
            <option key={code} value={code}>
              {languageName(code, shown)}
            </option>
          ))}
        </Select>
        <span className="text-sm text-muted">{t('intake.hint')}</span>
      </div>
    </Card>
  )
}

import { useEffect, useState } from 'react'
import { clock, when } from '../app/format'
import { useLanguage, useT } from '../i18n'
import { Button, Notice } from '../ui'
import { Icon } from '../ui/icons'
import { useRecordings } from './recordings'
import { useUploads } from './uploads'

/** Record by the microphone: kept on this device second by second, sent when it is stopped. */
export function RecorderPanel({ language }: { language: string }) {
  const t = useT()
  const shown = useLanguage()
  const { active, level, kept, lost, start, stop, discard } = useRecordings()
  const addRecordings = useUploads((uploads) => uploads.addRecordings)
  const sending = useUploads((uploads) => uploads.items)
  const [refused, setRefused] = useState(false)
  const elapsed = useElapsed(active?.startedAt)
  const [justStopped, setJustStopped] = useState(false)
  const waiting = kept.filter((one) => !sending.some((item) => item.recording === one.id))

  useEffect(() => {
    if (!justStopped || active) return
    setJustStopped(false)
    addRecordings()
  }, [justStopped, active, addRecordings, kept])

  async function begin() {
    setRefused(false)
    const name = `${t('record.name')} ${when(new Date().toISOString(), shown)}`
    await start(language, name).catch(() => setRefused(true))
  }

  return (
    <div className="flex flex-col items-center justify-center gap-3 bg-surface px-4 py-6 text-center">
      <button
        type="button"
        aria-label={t(active ? 'record.stop' : 'record.start')}
        onClick={() => {
          if (active) {
            setJustStopped(true)
            stop()
          } else void begin()
        }}
        className={`grid size-14 place-items-center rounded-full transition-colors ${active ? 'bg-danger text-surface' : 'bg-accent text-on-accent hover:bg-accent-strong'}`}
      >
        <Icon name={active ? 'stop' : 'mic'} className="size-6" />
      </button>
      {active ? (
        <>
          <p className="font-mono text-lg tabular-nums">{clock(elapsed)}</p>
          <Level value={level} label={t('record.level')} />
        </>
      ) : (
        <p className="text-muted">{t('record.hint')}</p>
      )}
      {refused && (
        <Notice tone="danger" urgent>
          {t('record.refused')}
        </Notice>
      )}
      {lost && (
        <Notice tone="warn" urgent>
          {t('record.lost')}
        </Notice>
      )}
      {!active && waiting.length > 0 && (
        <div className="w-full rounded-lg bg-warn-soft px-3 py-2 text-left text-sm text-warn">
          <p className="font-medium">{t('record.kept', { n: waiting.length })}</p>
          <div className="mt-2 flex flex-wrap gap-2">
            <Button onClick={addRecordings}>{t('record.send')}</Button>
            <Button look="danger" onClick={() => waiting.forEach((one) => void discard(one.id))}>
              {t('record.discard')}
            </Button>
          </div>
        </div>
      )}
    </div>
  )
}

export function Level({ value, label }: { value: number; label: string }) {
  return (
    <div
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(value * 100)}
      className="h-2 w-40 overflow-hidden rounded-full bg-sunken"
    >
      <div className="h-full rounded-full bg-accent transition-[width] duration-75" style={{ width: `${value * 100}%` }} />
    </div>
  )
}

function useElapsed(since: number | undefined): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    if (since === undefined) return
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), 250)
    return () => clearInterval(timer)
  }, [since])
  return since === undefined ? 0 : (now - since) / 1000
}

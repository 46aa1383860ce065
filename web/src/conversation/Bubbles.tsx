import { memo, useEffect, useRef, useState } from 'react'
import { languageName } from '../app/languages'
import { type TextKey, useLanguage, useT } from '../i18n'
import { Badge } from '../ui'
import type { Talk, Turn } from './protocol'

/** What was said, turn by turn. Bubbles grow in place. */
export function Bubbles({ talk }: { talk: Talk }) {
  const t = useT()
  return (
    <>
      <ol className="space-y-4" aria-label={t('talk.turns')}>
        {talk.turns.map((turn) => (
          <OneTurn key={turn.id} turn={turn} />
        ))}
      </ol>
      <Announcer talk={talk} />
    </>
  )
}

const OneTurn = memo(function OneTurn({ turn }: { turn: Turn }) {
  const t = useT()
  return (
    <li className="space-y-2">
      {turn.said && (
        <div className="flex justify-end">
          <p
            lang={turn.language ?? undefined}
            className={`max-w-[85%] rounded-2xl rounded-br-md bg-accent-soft px-4 py-2.5 break-words whitespace-pre-wrap ${turn.final ? '' : 'text-muted italic'}`}
          >
            {turn.said}
            {!turn.final && ' …'}
          </p>
        </div>
      )}
      {turn.reply && (
        <p className="max-w-[85%] w-fit rounded-2xl rounded-bl-md border border-line bg-surface px-4 py-2.5 break-words whitespace-pre-wrap">
          {turn.reply}
          {turn.outcome === null && !turn.interrupted && <span className="ml-1 inline-block animate-pulse">▍</span>}
        </p>
      )}
      {!turn.reply && turn.final && turn.outcome === null && (
        <p className="w-fit animate-pulse rounded-2xl border border-line bg-surface px-4 py-2.5 text-muted">…</p>
      )}
      <div className="flex flex-wrap items-center gap-2">
        {turn.interrupted && <Badge>{t('talk.interrupted')}</Badge>}
        {turn.outcome === 'failed' && <Badge tone="danger">{t('talk.failed')}</Badge>}
        {turn.outcome === 'nothing_heard' && <Badge>{t('talk.nothing')}</Badge>}
      </div>
      {turn.outcome === 'answered' && turn.times.total_ms !== undefined && <Timeline turn={turn} />}
    </li>
  )
})

const STAGES: { at: 'transcript_ms' | 'first_text_ms' | 'first_audio_ms'; text: TextKey; colour: string }[] = [
  { at: 'transcript_ms', text: 'time.recognised', colour: 'bg-accent/60' },
  { at: 'first_text_ms', text: 'time.firstText', colour: 'bg-accent' },
  { at: 'first_audio_ms', text: 'time.firstAudio', colour: 'bg-ok' },
]

/** Where the time went, from the end of what was said: as the server tells it, and the first sound as it was heard here. */
function Timeline({ turn }: { turn: Turn }) {
  const t = useT()
  const language = useLanguage()
  const seconds = (ms: number) =>
    new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(ms / 1000)
  const waited = turn.times.endpointing_ms ?? 0
  const parts: { text: TextKey; ms: number; colour: string }[] = waited
    ? [{ text: 'time.waited', ms: waited, colour: 'bg-edge' }]
    : []
  let before = 0
  for (const stage of STAGES) {
    const at = turn.times[stage.at]
    if (at === undefined) continue
    parts.push({ text: stage.text, ms: Math.max(0, at - before), colour: stage.colour })
    before = at
  }
  const heard = turn.heard_ms
  const whole = heard === null ? waited + before : waited + heard
  const sum = parts.reduce((total, part) => total + part.ms, 0) || 1
  return (
    <details className="text-sm text-muted">
      <summary className="w-fit rounded hover:text-text">
        {t(heard === null ? 'time.answered' : 'time.heard', { time: seconds(whole) })}
        {turn.language && ` · ${languageName(turn.language, language)}`}
        {turn.confidence !== null && ` · ${t('transcript.confidence', { n: Math.round(turn.confidence * 100) })}`}
      </summary>
      <div className="mt-2 max-w-md">
        <div className="flex h-2 overflow-hidden rounded-full bg-sunken" aria-hidden="true">
          {parts.map((part) => (
            <div key={part.text} className={part.colour} style={{ width: `${(part.ms / sum) * 100}%` }} />
          ))}
        </div>
        <dl className="mt-2 grid grid-cols-[1fr_auto] gap-x-4">
          {parts.map((part) => (
            <div key={part.text} className="contents">
              <dt className="flex items-center gap-2">
                <span className={`size-2 rounded-full ${part.colour}`} />
                {t(part.text)}
              </dt>
              <dd className="text-right tabular-nums">{seconds(part.ms)} s</dd>
            </div>
          ))}
        </dl>
      </div>
    </details>
  )
}

const ANNOUNCE_MS = 2000

/** What a screen reader says: whole texts, at most every two seconds. */
function Announcer({ talk }: { talk: Talk }) {
  const [text, setText] = useState('')
  const last = useRef(0)
  const turn = talk.turns.at(-1)
  const next = turn ? (turn.outcome !== null && turn.reply ? turn.reply : turn.final ? turn.said : '') : ''
  useEffect(() => {
    if (!next) return
    const wait = Math.max(0, last.current + ANNOUNCE_MS - Date.now())
    const timer = setTimeout(() => {
      last.current = Date.now()
      setText(next)
    }, wait)
    return () => clearTimeout(timer)
  }, [next])
  return (
    <p className="sr-only" aria-live="polite">
      {text}
    </p>
  )
}

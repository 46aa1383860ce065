/** Talk with Milo: by voice, hands free or by pressing a button, or by writing. */

import { useQuery } from '@tanstack/react-query'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { get } from '../api/client'
import { useDefaultModel } from '../api/queries'
import { when } from '../app/format'
import { languageName } from '../app/languages'
import { Trouble } from '../app/Trouble'
import { type TextKey, useLanguage, useT } from '../i18n'
import { Badge, Button, Empty, FIELD, Heading, IconButton, Notice, Select } from '../ui'
import { Icon } from '../ui/icons'
import { Bubbles } from './Bubbles'
import { useConversation, useLevel } from './useConversation'

type SessionItem = { id: string; updated_at: string }
type Talking = ReturnType<typeof useConversation>

const ENDINGS: Record<number, TextKey> = {
  1013: 'talk.partDown',
  4404: 'talk.forgotten',
  4408: 'talk.idle',
  4422: 'trouble.refused',
}

export default function Conversation() {
  const t = useT()
  const [language, setLanguage] = useState('')
  const [voice, setVoice] = useState('')
  const [speak, setSpeak] = useState(true)
  const talking = useConversation({ language, voice, speak })
  const { talk, line, closed } = talking
  const mode = talk.turns.findLast((turn) => turn.mode)?.mode
  const end = useRef<HTMLDivElement>(null)

  // follow what grows, unless the reader has scrolled away from it
  useEffect(() => {
    if (talk.turns.length && innerHeight + scrollY > document.body.scrollHeight - 240) {
      end.current?.scrollIntoView({ block: 'end' })
    }
  }, [talk.turns])

  return (
    <div className="mx-auto flex min-h-[calc(100dvh-10.5rem)] max-w-3xl flex-col md:min-h-[calc(100dvh-6rem)]">
      <Heading title={t('nav.conversation')}>
        {mode && <Badge tone={mode === 'cloud' ? 'warn' : 'ok'}>{t(mode === 'cloud' ? 'talk.cloud' : 'talk.local')}</Badge>}
        <Sessions talking={talking} />
      </Heading>
      <div className="grow space-y-3">
        {line === 'waiting' && (
          <Notice tone="warn" urgent>
            {t('talk.again')}
          </Notice>
        )}
        {line === 'closed' && closed !== null && ENDINGS[closed] && <Notice tone="warn">{t(ENDINGS[closed])}</Notice>}
        {talking.microphone === 'refused' && (
          <Notice tone="danger" urgent>
            {t('record.refused')}
          </Notice>
        )}
        {talking.microphone === 'lost' && (
          <Notice tone="warn" urgent>
            {t('talk.lost')}
          </Notice>
        )}
        {talk.turns.length ? (
          <Bubbles talk={talk} />
        ) : (
          <Empty title={t('talk.empty')}>{t('talk.emptyHint')}</Empty>
        )}
        {talk.problem && (
          <Notice tone="danger" urgent>
            <span>
              <strong className="block font-semibold">{talk.problem.title}</strong>
              {talk.problem.detail}
            </span>
          </Notice>
        )}
        <div ref={end} className="h-2 scroll-mb-40" />
      </div>
      <Composer
        talking={talking}
        settings={<Settings {...{ language, setLanguage, voice, setVoice, speak, setSpeak }} />}
      />
    </div>
  )
}

function Sessions({ talking }: { talking: Talking }) {
  const t = useT()
  const language = useLanguage()
  const [error, setError] = useState<unknown>(null)
  const sessions = useQuery({
    queryKey: ['sessions', talking.sessionId, talking.talk.turns.length],
    queryFn: ({ signal }) => get<{ items: SessionItem[] }>('/sessions', signal),
  })
  const items = sessions.data?.items ?? []
  return (
    <>
      <Select
        label={t('talk.sessions')}
        hideLabel
        className="w-44"
        value={talking.sessionId ?? ''}
        onChange={(event) => {
          setError(null)
          talking.open(event.target.value || null).catch(setError)
        }}
      >
        <option value="">{t('talk.new')}</option>
        {talking.sessionId && !items.some((one) => one.id === talking.sessionId) && (
          <option value={talking.sessionId}>{t('talk.now')}</option>
        )}
        {items.map((one) => (
          <option key={one.id} value={one.id}>
            {when(one.updated_at, language)}
          </option>
        ))}
      </Select>
      {error !== null && <Trouble error={error} />}
    </>
  )
}

type SettingsProps = {
  language: string
  setLanguage: (value: string) => void
  voice: string
  setVoice: (value: string) => void
  speak: boolean
  setSpeak: (value: boolean) => void
}

function Settings({ language, setLanguage, voice, setVoice, speak, setSpeak }: SettingsProps) {
  const t = useT()
  const shown = useLanguage()
  const heard = useDefaultModel('stt')?.languages ?? []
  const speech = useDefaultModel('tts')
  const spoken = new Set(speech?.languages ?? heard)
  return (
    <>
      <Select
        label={t('talk.language')}
        className="w-44"
        value={language}
        onChange={(event) => setLanguage(event.target.value)}
      >
        <option value="">{t('intake.detect')}</option>
        {heard
          .filter((code) => spoken.has(code))
          .map((code) => (
            <option key={code} value={code}>
              {languageName(code, shown)}
            </option>
          ))}
      </Select>
      {(speech?.voices?.length ?? 0) > 0 && (
        <Select label={t('talk.voice')} className="w-36" value={voice} onChange={(event) => setVoice(event.target.value)}>
          <option value="">{t('talk.usualVoice')}</option>
          {speech?.voices?.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </Select>
      )}
      <label className="flex min-h-10 items-center gap-2">
        <input
          type="checkbox"
          className="size-4 accent-accent"
          checked={speak}
          onChange={(event) => setSpeak(event.target.checked)}
        />
        {t('talk.speak')}
      </label>
    </>
  )
}

function Composer({ talking, settings }: { talking: Talking; settings: React.ReactNode }) {
  const t = useT()
  const [text, setText] = useState('')
  const [handsFree, setHandsFree] = useState(true)
  const [held, setHeld] = useState(false)
  const { microphone, line, playing, talk } = talking
  const listening = microphone === 'on' && (handsFree || held)

  function submit(event: FormEvent) {
    event.preventDefault()
    if (!text.trim()) return
    void talking.write(text.trim())
    setText('')
  }

  function press() {
    setHeld(true)
    talking.press()
  }
  function release() {
    if (!held) return
    setHeld(false)
    talking.release()
  }

  const status: TextKey =
    line === 'connecting' || line === 'waiting'
      ? 'talk.connecting'
      : playing
        ? 'talk.speaking'
        : talk.speaking
          ? 'talk.hearing'
          : listening
            ? 'talk.listening'
            : handsFree
              ? 'talk.start'
              : 'talk.hold'
  return (
    <div className="sticky bottom-[calc(3.5rem+env(safe-area-inset-bottom))] z-10 -mx-4 border-t border-line bg-bg px-4 pt-3 pb-3 md:bottom-0">
      <div className="mb-3 flex items-center gap-4">
        <button
          type="button"
          aria-label={t(handsFree ? (microphone === 'on' ? 'talk.mute' : 'talk.start') : 'talk.hold')}
          aria-pressed={listening}
          onClick={() => handsFree && (microphone === 'on' ? talking.mute() : void talking.listen())}
          onPointerDown={(event) => {
            if (handsFree) return
            event.currentTarget.setPointerCapture(event.pointerId)
            press()
          }}
          onPointerUp={() => !handsFree && release()}
          onPointerCancel={() => !handsFree && release()}
          onKeyDown={(event) => !handsFree && event.key === ' ' && !event.repeat && press()}
          onKeyUp={(event) => !handsFree && event.key === ' ' && release()}
          onBlur={() => !handsFree && release()}
          className={`grid size-14 shrink-0 touch-none place-items-center rounded-full transition-colors select-none ${listening ? 'bg-danger text-surface' : 'bg-accent text-on-accent hover:bg-accent-strong'}`}
        >
          <Icon name={listening && handsFree ? 'stop' : 'mic'} className="size-6" />
        </button>
        <div className="min-w-0 grow">
          <p className="truncate font-medium">{t(status)}</p>
          <Meter />
        </div>
        {playing && (
          <Button onClick={talking.interrupt}>
            <Icon name="stop" className="size-4" />
            {t('talk.interrupt')}
          </Button>
        )}
      </div>
      <form onSubmit={submit} className="flex gap-2">
        <input
          className={FIELD}
          value={text}
          maxLength={4000}
          placeholder={t('talk.write')}
          aria-label={t('talk.write')}
          onChange={(event) => setText(event.target.value)}
        />
        <IconButton
          label={t('talk.send')}
          type="submit"
          disabled={!text.trim()}
          className="bg-accent text-on-accent! hover:bg-accent-strong!"
        >
          <Icon name="send" />
        </IconButton>
      </form>
      <details className="mt-2">
        <summary className="w-fit rounded-lg py-1 text-sm text-muted hover:text-text">{t('talk.settings')}</summary>
        <div className="flex flex-wrap items-end gap-3 pt-2">
          <Select
            label={t('talk.how')}
            className="w-44"
            value={handsFree ? 'free' : 'press'}
            onChange={(event) => {
              talking.hangUp()
              setHandsFree(event.target.value === 'free')
            }}
          >
            <option value="free">{t('talk.handsFree')}</option>
            <option value="press">{t('talk.pressToTalk')}</option>
          </Select>
          {settings}
        </div>
      </details>
    </div>
  )
}

function Meter() {
  const t = useT()
  const level = useLevel((state) => state.level)
  return (
    <div
      role="meter"
      aria-label={t('record.level')}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(level * 100)}
      className="mt-1 h-1.5 w-full max-w-60 overflow-hidden rounded-full bg-sunken"
    >
      <div className="h-full rounded-full bg-accent" style={{ width: `${level * 100}%` }} />
    </div>
  )
}
